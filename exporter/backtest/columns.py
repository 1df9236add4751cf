"""Samples in memory, handed out as the answers of a source."""

import numpy as np

from detectors.types import Floats
from exporter.source.frame import Frame


class Columns:
    """Series as rows, grid points as columns.

    Parameters
    ----------
    names : list of bytes, length S
        Labels of the series as JSON.
    values : Floats, shape (S, N)
        NaN where there is no sample.
    first : int
        Number of the first column in steps since 1970.
    step : float
    """

    def __init__(self, names: list[bytes], values: Floats, first: int, step: float) -> None:
        self._names, self._values, self._first, self._step = names, values, first, step
        self._labels: dict[bytes, list[bytes]] = {}

    def frame(self, start: float, end: float) -> Frame:
        """Return the samples from `start` to `end` (Unix seconds)."""
        first = max(round(start / self._step) - self._first, 0)
        last = max(round(end / self._step) - self._first, first - 1)
        values = self._values[:, first : last + 1]
        times = self._step * np.arange(self._first + first, self._first + first + values.shape[1], dtype=np.float64)
        present = np.isfinite(values)
        counts = present.sum(axis=1)
        some = counts > 0
        labels = self._labels.setdefault(  # the same list again tells the window that the series are the same
            some.tobytes(), [name for name, is_there in zip(self._names, some.tolist(), strict=True) if is_there]
        )
        return Frame(labels, counts[some], np.broadcast_to(times, values.shape)[present], values[present])
