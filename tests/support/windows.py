"""A window read and taken in one go."""

from collections.abc import Mapping

import numpy as np

from detectors import Batch
from exporter.pipeline.window import Window
from exporter.source.chunks import FetchStats, fetch
from exporter.source.samples import Source


def extend(
    window: Window, source: Source, until: float, span: int = 0, queries: Mapping[str, str] | None = None
) -> tuple[Batch, list[FetchStats]]:
    """Bring a window of one-minute samples up to `until`; the first fill is of `span` samples, at least a window.

    Return the window as it stands then, and what each piece brought in.
    """
    samples = max(span if window.until == -np.inf else 0, window.samples)
    first = until // 60.0 * 60.0 - (samples - 1) * 60.0
    intakes = []
    start, series = max(window.until + 60.0, first), len(window.keys) * len(window.channels)
    for chunk in fetch(source, queries or dict.fromkeys(window.channels, "q"), 60.0, start, until, series=series):
        for _ in window.append(chunk):
            pass
        intakes.append(chunk.stats)
    return window.newest(), intakes
