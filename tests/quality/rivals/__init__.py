"""What the detectors are compared with. All of it sees only the past, as a live exporter does."""
