"""How good every detector is, and what it is compared with: `make quality`."""
