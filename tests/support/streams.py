"""Streams of evidence for tests."""

from collections.abc import Mapping, Sequence

import numpy as np

from detectors.streams import STREAMS, blank
from detectors.types import Streams


def streams(
    rows: Sequence[int], size: Mapping[str, float], period: Mapping[str, float] | None = None, by_hour: bool = False
) -> Streams:
    """Return the same streams for all `rows`: size in standard deviations and return period in seconds by name."""
    found = blank(np.array(rows, np.intp))
    for target, given in ((found.size, size), (found.period, period or {})):
        for name, number in given.items():
            target[:, STREAMS.index(name)] = number
    found.by_hour[...] = by_hour
    return found
