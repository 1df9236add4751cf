"""The exporter's own metrics, stage durations, traces and logs."""
