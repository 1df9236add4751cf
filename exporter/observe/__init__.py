"""What the exporter tells about itself: metrics, stage durations, traces, logs."""
