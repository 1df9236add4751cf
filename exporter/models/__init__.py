"""Looking after stored models by hand: `anomaly-exporter models`."""
