"""Samples in memory, handed out as the answers of a source."""

from collections.abc import Iterable

import numpy as np

from detectors.types import Floats
from exporter.source.frame import Frame, Source


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

    def holds(self, start: float, end: float) -> bool:
        """Tell whether all grid points from `start` to `end` are columns of these."""
        first, last = round(start / self._step) - self._first, round(end / self._step) - self._first
        return bool(0 <= first <= last < self._values.shape[1])

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


class Ahead:
    """A source that reads ahead of single questions, so that a replay asks another source once for many steps.

    Parameters
    ----------
    source : Source
    points : int
        Steps read at once.
    last : float
        Unix seconds beyond which nothing is read.
    """

    def __init__(self, source: Source, points: int, last: float) -> None:
        self._source, self._points, self._last = source, points, last
        self._read: dict[str, Columns] = {}

    def range(self, expr: str, start: float, end: float, step: float, max_series: int | None = None) -> Frame:
        """Return the samples from `start` to `end`. Raises SourceError."""
        if end > start:  # the first fill, or a catch-up
            return self._source.range(expr, start, end, step, max_series)
        if expr not in self._read or not self._read[expr].holds(start, end):
            until = max(min(start + (self._points - 1) * step, self._last), end)
            self._read[expr] = _columns(self._source.range(expr, start, until, step, max_series), start, until, step)
        return self._read[expr].frame(start, end)

    def metric_types(self, names: Iterable[str]) -> dict[str, str]:
        """Return what the source knows. Raises SourceError."""
        return self._source.metric_types(names)


def _columns(frame: Frame, start: float, end: float, step: float) -> Columns:
    values = np.full((len(frame.labels), round((end - start) / step) + 1), np.nan)
    values[np.repeat(np.arange(len(frame.counts)), frame.counts), np.rint((frame.times - start) / step).astype(int)] = (
        frame.values
    )
    return Columns(frame.labels, values, round(start / step), step)
