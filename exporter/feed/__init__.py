"""The newest verdicts as JSON, for dashboards that read no Prometheus."""
