"""Putting rows on an evenly spaced grid, and files with the same clock together."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.types import Floats
from exporter.backtest.data import BacktestError, Series
from exporter.config.units import format_duration

_EMPTIEST: Final = 50
"""Grid points per row beyond which a timestamp is wrong rather than a gap long."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Files that are judged together: the same channels, step and first timestamp.

    Parameters
    ----------
    series : list of Series, length E
    step : float
        Seconds between grid points.
    origin : float
        Unix seconds of the first grid point.
    values : Floats, shape (E, C, N)
        NaN where no row fell on the grid point.
    slots : list of int64 arrays, length E
        Grid point of each row; a row without one of its own shares that of an earlier row.
    """

    series: list[Series]
    step: float
    origin: float
    values: Floats
    slots: list[NDArray[np.int64]]


def group(every: Iterable[Series], step: float | None) -> list[Group]:
    """Put `every` series on its grid of `step` seconds; None: the median distance of its rows. Raises BacktestError."""
    alike: defaultdict[tuple[tuple[str, ...], float, float], list[Series]] = defaultdict(list)
    for series in every:
        alike[series.channels, step or usual_step(series), float(series.times[0])].append(series)
    return [_group(members, width, origin) for (_, width, origin), members in alike.items()]


def usual_step(series: Series) -> float:
    """Return the median distance in seconds of rows that are later than the one before. Raises BacktestError."""
    distances = np.diff(series.times)
    distances = distances[distances > 0]
    if not len(distances):
        raise BacktestError(f"{series.name}: fewer than two different timestamps, so no step; set one: --set step=1m")
    return float(np.median(distances))


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
        if end > _EMPTIEST * len(series.times) + 1000:
            raise BacktestError(
                f"{series.name}: {len(series.times)} rows lie on {end} points at the step of {format_duration(step)}; "
                "is there a wrong timestamp? Otherwise set a longer step: --set step=1h"
            )
    values = np.full((len(members), len(members[0].channels), max(ends)), np.nan)
    for entity, (series, (slots, counts)) in enumerate(zip(members, placed, strict=True)):
        values[entity][:, slots[counts]] = series.values[:, counts]
    return Group(members, step, origin, values, [slots for slots, _ in placed])
