"""How good every detector is on labelled series: `make quality`."""
