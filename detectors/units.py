"""Lengths of time in seconds, defined once for detectors and exporter."""

from typing import Final

MINUTE: Final = 60.0
HOUR: Final = 3600.0
DAY: Final = 86_400.0
WEEK: Final = 604_800.0
