"""The metrics of the source, for completion: names, types and what they are about."""

import threading
import time
from collections.abc import Callable
from typing import Final

from exporter.source.prometheus import Prometheus
from exporter.web.ui.preview_answers import MetricName, MetricNames

_FRESH: Final = 300.0
"""Seconds for which an answer is used again."""


class Names:
    """Remembers what metrics there are; the source is asked once in a while.

    Parameters
    ----------
    source : callable returning Prometheus
    """

    def __init__(self, source: Callable[[], Prometheus]) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._at = -float("inf")
        self._names: list[MetricName] = []

    def like(self, part: str, most: int) -> MetricNames:
        """Return metrics whose names hold `part`, those that begin with it first. Raises SourceError."""
        with self._lock:
            if time.monotonic() - self._at > _FRESH:
                self._names = [MetricName(*each) for each in self._source().metrics()]
                self._at = time.monotonic()
            names = self._names
        wanted = part.lower()
        found = [each for each in names if wanted in each.name.lower()]
        found.sort(key=lambda each: (not each.name.lower().startswith(wanted), each.name))
        return MetricNames(len(found), found[:most])
