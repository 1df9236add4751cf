"""Real Prometheus, Alertmanager and node_exporter processes on loopback, and the demo that runs on them."""
