"""Runs the exporter: jobs on their timers, reloads, saved state."""
