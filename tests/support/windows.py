"""A window read and taken in one go."""

import numpy as np

from detectors import Batch
from exporter.pipeline.window import FetchStats, Window
from exporter.source.samples import Source


def extend(window: Window, source: Source, until: float, span: int = 0) -> tuple[Batch, list[FetchStats]]:
    """Bring a window of one-minute samples up to `until`; the first fill is of `span` samples, at least a window.

    Return the window as it stands then, and what each piece brought in.
    """
    samples = max(span if window.until == -np.inf else 0, window.samples)
    first = until // 60.0 * 60.0 - (samples - 1) * 60.0
    intakes = []
    for piece in window.read(source, first, until):
        for _ in window.take(piece):
            pass
        intakes.append(piece.intake)
    return window.newest(), intakes
