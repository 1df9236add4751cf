"""The verdicts of a replay as one array per field."""

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.types import Flags, Floats, Key
from exporter.pipeline.verdict import Verdict

_NUMBERS: Final = ("score", "severity", "expected", "lower", "upper", "deviation")


class Record:
    """Verdicts of entities (rows, in the order they were first seen) at grid points (columns).

    Of several channels `expected`, `lower` and `upper` are those of the channel that contributes most, whose number
    `channel` holds. `deviation` is the largest over the channels of |value - expected|, of the signed distance where
    only one direction counts, and infinite where there is a value and no forecast. 60 bytes per entity and grid point.

    Parameters
    ----------
    start : float
        Unix seconds of the first column, on the job's clock of whole steps.
    step : float
    columns : int
    keys : iterable of Key
        Entities known beforehand, so that they have the first rows.
    direction : str
        Which deviations count: above, below or both.
    keep_values : bool
        Keep the values too, shape (E, C, N), for pictures: 8 bytes more for each channel.
    """

    score: Floats
    severity: Floats
    expected: Floats
    lower: Floats
    upper: Floats
    deviation: Floats

    def __init__(
        self,
        start: float,
        step: float,
        columns: int,
        keys: Iterable[Key] = (),
        direction: str = "both",
        keep_values: bool = False,
    ) -> None:
        self._start, self._step, self._columns = start, step, columns
        self._row = {key: row for row, key in enumerate(keys)}
        self._last: tuple[tuple[Key, ...], NDArray[np.int64]] = (), np.empty(0, np.int64)
        rows = len(self._row)
        self._direction, self._keep_values = direction, keep_values
        for name in _NUMBERS:
            setattr(self, name, self._numbers(rows))
        self.values: Floats = np.empty((rows, 0, columns))
        self.flag, self.alert, self.present = (np.zeros((rows, columns), np.bool_) for _ in range(3))
        self.channel = np.zeros((rows, columns), np.int16)
        self.channels: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[Key, ...]:
        """Entities in the order of the rows."""
        return tuple(self._row)

    def add(self, verdict: Verdict, column: int | None = None) -> None:
        """Take in the verdict of one column; None: of the grid point at its time."""
        rows = self._rows(verdict.keys)
        if column is None:
            column = round((verdict.time - self._start) / self._step)
        self.channels = verdict.channels
        worst = np.argmax(verdict.contribution, axis=1) if len(verdict.channels) > 1 else np.zeros(len(rows), np.int64)
        entity = np.arange(len(rows))
        self.score[rows, column] = verdict.score
        self.severity[rows, column] = verdict.severity
        self.flag[rows, column] = verdict.flag
        self.alert[rows, column] = verdict.alert
        self.channel[rows, column] = worst
        self.present[rows, column] = np.isfinite(verdict.values).any(axis=1)
        self.expected[rows, column] = verdict.expected[entity, worst]
        self.lower[rows, column] = verdict.lower[entity, worst]
        self.upper[rows, column] = verdict.upper[entity, worst]
        self.deviation[rows, column] = self._deviation(verdict)
        if self._keep_values:
            if not self.values.shape[1]:
                self.values = np.full((len(self._row), len(verdict.channels), self._columns), np.nan)
            self.values[rows, :, column] = verdict.values

    def _deviation(self, verdict: Verdict) -> Floats:
        with np.errstate(invalid="ignore", over="ignore"):
            deviation = verdict.values - verdict.expected
        size = {"both": np.abs(deviation), "above": deviation, "below": -deviation}[self._direction]
        size = np.where(np.isnan(verdict.expected), np.inf, size)
        return np.asarray(np.where(np.isnan(verdict.values), -np.inf, size).max(axis=1))

    def _rows(self, keys: tuple[Key, ...]) -> NDArray[np.int64]:
        known, rows = self._last
        if keys is known:
            return rows
        rows = np.array([self._row.setdefault(key, len(self._row)) for key in keys], np.int64)
        self._last = keys, rows
        if (more := len(self._row) - len(self.score)) > 0:
            for name in _NUMBERS:
                setattr(self, name, np.concatenate([getattr(self, name), self._numbers(more)]))
            room = np.full((more, *self.values.shape[1:]), np.nan)
            self.values = np.concatenate([self.values, room])
            for name in ("flag", "alert", "present", "channel"):
                array: Flags = getattr(self, name)
                setattr(self, name, np.concatenate([array, np.zeros((more, self._columns), array.dtype)]))
        return rows

    def _numbers(self, rows: int) -> Floats:
        return np.full((rows, self._columns), np.nan)
