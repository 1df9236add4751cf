"""Putting rows on an evenly spaced grid where they lie on one, and files with the same clock together."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.types import Floats
from exporter.backtest.read_csv import Series
from exporter.errors import InputError
from exporter.promql import format_duration

_EMPTIEST: Final = 50
"""Grid points per row beyond which a timestamp is wrong rather than a gap long."""


_NEAR: Final = 0.25
"""Share of a step within which a row lies on a grid point."""
_FEW: Final = 0.01
"""Share of the rows that may lie farther off in a file that is put on a grid."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Files that are judged together: the same channels, step and first timestamp; or one whose rows lie on no grid.

    Parameters
    ----------
    series : list of Series, length E
    step : float
        Seconds between grid points; without a grid the usual ones between rows.
    origin : float
        Unix seconds of the first grid point.
    values : Floats, shape (E, C, N)
        NaN where no row fell on the grid point.
    slots : list of int64 arrays, length E
        Grid point of each row; a row without one of its own shares that of an earlier row.
    clock : Floats, shape (N,), or None
        Unix seconds of each column where the columns are rows and not points of a grid.
    """

    series: list[Series]
    step: float
    origin: float
    values: Floats
    slots: list[NDArray[np.int64]]
    clock: Floats | None = None


def group(every: Iterable[Series], step: float | None) -> list[Group]:
    """Put `every` series on its grid of `step` seconds. Raises InputError.

    `step` None: the median distance of its rows; a series whose rows lie on no such grid is a group of its own rows.
    """
    alike: defaultdict[tuple[tuple[str, ...], float, float], list[Series]] = defaultdict(list)
    alone = []
    for series in every:
        width = step or usual_step(series)
        if step is None and not even(series.times, width):
            alone.append(by_rows(series, width))
        else:
            alike[series.channels, width, float(series.times[0])].append(series)
    return [_group(members, width, origin) for (_, width, origin), members in alike.items()] + alone


def usual_step(series: Series) -> float:
    """Return the median distance in seconds of rows that are later than the one before. Raises InputError."""
    distances = np.diff(series.times)
    distances = distances[distances > 0]
    if not len(distances):
        raise InputError(f"{series.name}: fewer than two different timestamps, so no step; set one: --set step=1m")
    return float(np.median(distances))


def even(times: Floats, step: float) -> bool:
    """Tell whether the rows that are later than all before them lie on a grid, each on a point of its own."""
    position = (times[_later(times)] - times[0]) / step
    slots = np.rint(position)
    return bool((np.diff(slots) > 0).all() and (np.abs(position - slots) > _NEAR).mean() <= _FEW)


def by_rows(series: Series, step: float) -> Group:
    """Return a group of one series whose columns are its rows. Raises InputError.

    A row that is not later than all before it is not a column; it shares that of the last row up to its time.
    """
    _refuse_strays(series, float(np.ptp(series.times)) / step, step)
    later = _later(series.times)
    clock = series.times[later]
    slots = np.maximum(np.searchsorted(clock, series.times, side="right") - 1, 0)
    return Group([series], step, float(clock[0]), series.values[None, :, later], [slots], clock)


def _later(times: Floats) -> NDArray[np.bool_]:
    """Tell of each row whether it is later than all before it."""
    return np.diff(np.maximum.accumulate(times), prepend=-np.inf) > 0


def place(times: Floats, step: float) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the grid point of each row, and whether its value is the one that counts there; shape (N,) both.

    A row takes the nearest grid point, or the next one where that is taken and less than a step away. The value of a
    row that finds none, or is not later than every row before it, does not count. No row moves one before it.
    """
    position = (times - times[0]) / step
    slots = np.rint(position).astype(np.int64)
    if (np.diff(slots) > 0).all():
        return slots, np.ones(len(slots), np.bool_)
    counts = np.zeros(len(slots), np.bool_)
    last, newest = -1, -np.inf
    for row, (at, nearest) in enumerate(zip(position.tolist(), slots.tolist(), strict=True)):  # 0.3 µs a row
        if at > newest and (nearest > last or last + 1 - at < 1):
            last = slots[row] = max(nearest, last + 1)
            counts[row] = True
        newest = max(newest, at)
    return np.maximum(slots, 0), counts


def _group(members: list[Series], step: float, origin: float) -> Group:
    placed = [place(series.times, step) for series in members]
    ends = [int(slots.max()) + 1 for slots, _ in placed]
    for series, end in zip(members, ends, strict=True):
        _refuse_strays(series, end, step)
    values = np.full((len(members), len(members[0].channels), max(ends)), np.nan)
    for entity, (series, (slots, counts)) in enumerate(zip(members, placed, strict=True)):
        values[entity][:, slots[counts]] = series.values[:, counts]
    return Group(members, step, origin, values, [slots for slots, _ in placed])


def _refuse_strays(series: Series, points: float, step: float) -> None:
    if points > _EMPTIEST * len(series.times) + 1000:
        raise InputError(
            f"{series.name}: {len(series.times)} rows lie on {points:.0f} points at the step of "
            f"{format_duration(step)}; is there a wrong timestamp? Otherwise set a longer step: --set step=1h"
        )
