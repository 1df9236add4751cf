"""Retraining: fit, gate, promote, and where that runs."""
