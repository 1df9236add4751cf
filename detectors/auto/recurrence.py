"""Recurring patterns: a deviation at the same hour of every day is not an incident."""

from typing import Final

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
APART: Final = 6 * HOUR
"""Openings closer to each other than this, in seconds, count once."""


def columns() -> dict[str, Column]:
    """Return the state columns of an entity."""
    return {
        "habit_count": Column(0.0, (24,), np.float32),
        "habit_size": Column(0.0, (24,), np.float32),
        "habit_time": Column(-np.inf),  # of the last counted opening
    }


def is_recurring(rows: Rows, size: Floats, at: SeasonalTime) -> Flags:
    """Return where a deviation of this size recurs at this hour of the day, shape (R,)."""
    around = [(at.hour - 1) % 24, at.hour, (at.hour + 1) % 24]
    often = rows["habit_count"][:, around].sum(axis=1) >= TIMES
    return np.asarray(often & (size <= LARGER * rows["habit_size"][:, around].max(axis=1)))


def decay(rows: Rows, at: SeasonalTime) -> None:
    """Decay all patterns by one step."""
    factor = np.float32(np.exp(-at.step / MEMORY))
    rows["habit_count"] *= factor
    rows["habit_size"] *= factor


def apart(rows: Rows, at: SeasonalTime) -> Flags:
    """Return where the last counted opening is at least APART ago, shape (R,)."""
    return np.asarray(at.time - rows["habit_time"] >= APART)


def record_opening(rows: Rows, which: NDArray[np.intp], at: SeasonalTime) -> None:
    """Count an opening of the rows `which`."""
    rows["habit_count"][which, at.hour] += 1
    rows["habit_time"][which] = at.time


def record_size(rows: Rows, which: NDArray[np.intp], hour: NDArray[np.integer] | int, size: Floats) -> None:
    """Record the largest size of the rows `which` by the `hour` at which the incident began."""
    sizes = rows["habit_size"]
    sizes[which, hour] = np.maximum(sizes[which, hour], size)
