"""Config to Prometheus rules and what belongs to them."""
