"""The default detector: seven component scores per series, each calibrated to an event rate, then combined."""

from detectors.auto.detector import Auto

__all__ = ["Auto"]
