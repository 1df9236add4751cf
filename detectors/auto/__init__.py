"""The default detector: seven streams of evidence per series, each turned into an event rate, combined."""

from detectors.auto.detector import Auto

__all__ = ["Auto"]
