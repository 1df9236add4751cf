"""Recurring patterns: a deviation to one side at the same hour of every day is not an incident."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import MEMORY, Rows
from detectors.entity_state import Column
from detectors.seasonality import SeasonalTime
from detectors.types import Flags, Floats
from detectors.units import HOUR

TIMES: Final = 2.5
"""Decayed number of openings around an hour of the day that make a pattern: silent from the fourth night on."""
LARGER: Final = 1.5
"""Factor by which the usual size of a pattern may be exceeded."""
_HOURS, _AROUND = 24, 3
"""Hours of the day, and those around one that count with it."""
APART: Final = 12
"""Hours between two openings around the same hour that count: three of them are on three days."""
_LARGEST: Final = 6e4
"""Sizes are kept as float16, which ends at 65,504."""

Sides = NDArray[np.uint8]
"""Sides of deviations: 0 below what is usual or without a side, 1 above."""


def columns() -> dict[str, Column]:
    """Return the state columns of an entity: by side and hour of the day."""
    return {
        "habit_count": Column(0.0, (2, 24), np.float16),  # openings
        "habit_size": Column(0.0, (2, 24), np.float16),  # the largest of them
        "habit_hour": Column(0, (2, 24), np.uint16),  # of the last opening; both above have faded since
    }


def is_recurring(rows: Rows, which: NDArray[np.intp], size: Floats, side: Sides, at: SeasonalTime) -> Flags:
    """Return which of the rows `which` (N,) have had deviations of this size and side at this hour of the day.

    They must be more than the openings of the other hours would bring here by chance.
    """
    around = _around(which, side, at)
    faded = _faded(rows, around, at)
    here = (rows["habit_count"][around] * faded).sum(axis=1)
    found = np.asarray((here >= TIMES) & (size <= LARGER * (rows["habit_size"][around] * faded).max(axis=1)))
    asked = np.flatnonzero(found)
    if len(asked):
        day = which[asked, None], side[asked, None].astype(np.intp), np.arange(_HOURS)[None]
        elsewhere = (rows["habit_count"][day] * _faded(rows, day, at)).sum(axis=1) - here[asked]
        found[asked] = here[asked] >= TIMES + elsewhere * (_AROUND / (_HOURS - _AROUND))
    return found


def apart(rows: Rows, which: NDArray[np.intp], side: Sides, at: SeasonalTime) -> Flags:
    """Return for which of the rows `which` (N,) no opening of this side and hour was counted for APART hours."""
    around = _around(which, side, at)
    return np.asarray(((_age(rows, around, at) >= APART) | (rows["habit_count"][around] == 0)).all(axis=1))


def record_opening(rows: Rows, which: NDArray[np.intp], side: Sides, at: SeasonalTime) -> None:
    """Count an opening of the rows `which`, whose sides are `side`."""
    here = which, side, at.hour
    faded = _faded(rows, here, at)
    rows["habit_count"][here] = rows["habit_count"][here] * faded + 1
    rows["habit_size"][here] = rows["habit_size"][here] * faded
    rows["habit_hour"][here] = _now(at)


def record_size(
    rows: Rows, which: NDArray[np.intp], side: Sides, hour: NDArray[np.integer] | int, size: Floats
) -> None:
    """Record the largest size of the rows `which` by side and the `hour` at which the incident began."""
    here, sizes = (which, side, hour), rows["habit_size"]
    sizes[here] = np.maximum(sizes[here], np.minimum(size, _LARGEST))


def _faded(rows: Rows, where: tuple[Any, ...], at: SeasonalTime) -> Floats:
    """Return the share of the last opening, and of those before it, that is remembered."""
    share: Floats = np.exp(-_age(rows, where, at) * HOUR / MEMORY)
    return share


def _now(at: SeasonalTime) -> np.uint16:
    return np.uint16(int(at.time // HOUR) % 2**16)  # seven years


def _age(rows: Rows, where: tuple[Any, ...], at: SeasonalTime) -> Floats:
    """Return the hours since the last opening."""
    age: Floats = (_now(at) - rows["habit_hour"][where]).astype(np.float64)
    return age


def _around(
    which: NDArray[np.intp], side: Sides, at: SeasonalTime
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Return the places of this hour and its neighbours, shapes that broadcast to (N, 3)."""
    return which[:, None], side[:, None].astype(np.intp), (at.hour + np.arange(-1, 2))[None] % _HOURS
