"""Spread independent tasks over cores or a cluster: trainings and backtests go the same way."""
