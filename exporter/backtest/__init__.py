"""`anomaly-exporter backtest`: the live cycle over the past, and what it would have cost."""
