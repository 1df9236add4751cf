"""The verdicts of a replay as one array per field; backtest and train keep theirs here."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from detectors.types import Flags, Floats, Key
from exporter.pipeline.policy import Policy
from exporter.pipeline.verdict import Verdict

Part = Literal["numbers", "values", "range"]
"""What is kept besides the flags: scores and forecasts, all values, or between what the values lay."""
_FLAGS: Final = ("flag", "alert", "present", "ready", "careful", "careful_from")
_NUMBERS: Final = ("score", "severity", "expected", "lower", "upper", "deviation")


class VerdictHistory:
    """Verdicts of entities (rows, in the order they were first seen) at points in time (columns).

    Always kept, shape (E, N), 6 bytes per entity and column: `flag` and `alert`; `present`, whether there was a value;
    `ready`, whether there was a score; `careful`, whether it was lowered after a deploy, and `careful_from`, whether
    for the first time. An array of a part that is not kept has no rows.

    `numbers`: `score`, `severity`, `expected`, `lower`, `upper`, `deviation` and `channel`, shape (E, N), 50 bytes
    more. Of several channels, expected, lower and upper are those of the channel that contributes most; `channel` holds
    its number. `deviation` is the largest over the channels of `Policy.deviation`: infinite where there is a value and
    no forecast, -infinite where there is no value.
    `values`: all values, shape (E, C, N), for plots; 8 bytes more for each channel.
    `range`: `lowest` and `highest`, shape (E, C), of the values outside incidents; NaN where there were none.

    Parameters
    ----------
    times : Floats, shape (N,)
        Unix seconds of the columns.
    step : float
        Seconds from one column to the next, or what is usual between them.
    keys : iterable of Key
        Entities known from the start, which get the first rows.
    policy : Policy
        Tells in which direction a deviation counts.
    keep : sequence of "numbers", "values", "range"
    """

    flag: Flags
    alert: Flags
    present: Flags
    ready: Flags
    careful: Flags
    careful_from: Flags
    score: Floats
    severity: Floats
    expected: Floats
    lower: Floats
    upper: Floats
    deviation: Floats

    def __init__(
        self,
        times: Floats,
        step: float,
        keys: Iterable[Key] = (),
        policy: Policy = Policy(),  # noqa: B008 - it is frozen
        keep: Sequence[Part] = ("numbers",),
    ) -> None:
        self.times, self.step = times, step
        self.channels: tuple[str, ...] = ()
        self._policy, self._keep = policy, frozenset(keep)
        self._row = {key: row for row, key in enumerate(keys)}
        self._last: tuple[tuple[Key, ...], NDArray[np.int64]] = (), np.empty(0, np.int64)
        for name in _FLAGS:
            setattr(self, name, np.zeros((0, len(times)), np.bool_))
        for name in _NUMBERS:
            setattr(self, name, np.empty((0, len(times))))
        self.channel = np.zeros((0, len(times)), np.int16)
        self.values: Floats = np.empty((0, 0, len(times)))
        self.lowest: Floats = np.empty((0, 0))
        self.highest: Floats = np.empty((0, 0))
        self._grow(0)

    @property
    def keys(self) -> tuple[Key, ...]:
        """Entities in the order of the rows."""
        return tuple(self._row)

    @property
    def columns(self) -> int:
        """Number of columns, N."""
        return len(self.times)

    @property
    def first(self) -> int:
        """Number of the first column in steps since 1970."""
        return round(float(self.times[0]) / self.step)

    def add(self, verdict: Verdict, column: int | None = None) -> None:
        """Add the verdict of one column; None: the column at its time."""
        self.channels = verdict.channels
        rows = self._rows(verdict.keys)
        if column is None:
            column = round(verdict.time / self.step) - self.first
        there = np.isfinite(verdict.values)
        self.flag[rows, column] = verdict.flag
        self.alert[rows, column] = verdict.alert
        self.present[rows, column] = there.any(axis=1)
        self.ready[rows, column] = np.isfinite(verdict.score)
        if verdict.caution is not None:
            self.careful[rows, column], self.careful_from[rows, column] = verdict.caution.rows, verdict.caution.begins
        if "numbers" in self._keep:
            self._add_numbers(verdict, rows, column)
        if "values" in self._keep:
            self.values[rows, :, column] = verdict.values
        if "range" in self._keep:
            values = np.where(there & ~verdict.flag[:, None], verdict.values, np.nan)
            self.lowest[rows] = np.fmin(self.lowest[rows], values)
            self.highest[rows] = np.fmax(self.highest[rows], values)

    def _add_numbers(self, verdict: Verdict, rows: NDArray[np.int64], column: int) -> None:
        worst = np.argmax(verdict.contribution, axis=1) if len(verdict.channels) > 1 else np.zeros(len(rows), np.int64)
        entity = np.arange(len(rows))
        self.score[rows, column] = verdict.score
        self.severity[rows, column] = verdict.severity
        self.channel[rows, column] = worst
        self.expected[rows, column] = verdict.expected[entity, worst]
        self.lower[rows, column] = verdict.lower[entity, worst]
        self.upper[rows, column] = verdict.upper[entity, worst]
        deviation = self._policy.deviation(verdict.values, verdict.expected, verdict.direction, verdict.contribution)
        deviation = np.where(np.isnan(verdict.expected) & ~np.isneginf(deviation), np.inf, deviation)
        self.deviation[rows, column] = np.where(np.isnan(verdict.values), -np.inf, deviation).max(axis=1)

    def _rows(self, keys: tuple[Key, ...]) -> NDArray[np.int64]:
        last, rows = self._last
        if keys is last:
            return rows
        rows = np.array([self._row.setdefault(key, len(self._row)) for key in keys], np.int64)
        self._last = keys, rows
        self._grow(len(self.channels))
        return rows

    def _grow(self, channels: int) -> None:
        """Make room for the entities that have none yet, and for the channels, once these are known."""
        entities, columns = len(self._row), self.columns
        for name in _FLAGS:
            setattr(self, name, _enlarged(getattr(self, name), (entities, columns), False))
        if "numbers" in self._keep:
            for name in _NUMBERS:
                setattr(self, name, _enlarged(getattr(self, name), (entities, columns), np.nan))
            self.channel = _enlarged(self.channel, (entities, columns), 0)
        if "values" in self._keep:
            self.values = _enlarged(self.values, (entities, channels, columns), np.nan)
        if "range" in self._keep:
            self.lowest = _enlarged(self.lowest, (entities, channels), np.nan)
            self.highest = _enlarged(self.highest, (entities, channels), np.nan)


def _enlarged(array: NDArray[Any], shape: tuple[int, ...], fill: float) -> NDArray[Any]:
    """Return `array` in the shape `shape`, which is not smaller; what is added holds `fill`."""
    if array.shape == shape:
        return array
    larger = np.full(shape, fill, array.dtype)
    larger[tuple(map(slice, array.shape))] = array
    return larger
