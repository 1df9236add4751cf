"""The source of samples: Prometheus and what speaks its API."""
