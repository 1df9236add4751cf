"""What comes at the same hour again and again is a habit, not an incident."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import MEMORY, Rows
from detectors.entity_state import Column
from detectors.seasonality import SeasonalTime
from detectors.types import Flags, Floats
from detectors.units import HOUR

TIMES: Final = 2.5
"""Openings around an hour of the day, decayed, that make a habit: from the fourth night on it is silent."""
LARGER: Final = 1.5
"""A habit's usual size may be exceeded by this factor."""
APART: Final = 6 * HOUR
"""Openings nearer to each other than this count once."""


def columns() -> dict[str, Column]:
    """Return the state columns of an entity."""
    return {
        "habit_count": Column(0.0, (24,), np.float32),
        "habit_size": Column(0.0, (24,), np.float32),
        "habit_time": Column(-np.inf),  # of the last opening counted
    }


def known(rows: Rows, size: Floats, tick: SeasonalTime) -> Flags:
    """Return where something of this size is usual at this hour of the day, shape (R,)."""
    around = [(tick.hour - 1) % 24, tick.hour, (tick.hour + 1) % 24]
    often = rows["habit_count"][:, around].sum(axis=1) >= TIMES
    return np.asarray(often & (size <= LARGER * rows["habit_size"][:, around].max(axis=1)))


def decay(rows: Rows, tick: SeasonalTime) -> None:
    """Let all habits fade by one step."""
    factor = np.float32(np.exp(-tick.step / MEMORY))
    rows["habit_count"] *= factor
    rows["habit_size"] *= factor


def apart(rows: Rows, tick: SeasonalTime) -> Flags:
    """Return where the last opening counted is long enough ago."""
    return np.asarray(tick.time - rows["habit_time"] >= APART)


def count(rows: Rows, which: NDArray[np.intp], tick: SeasonalTime) -> None:
    """Count an opening of the rows `which`."""
    rows["habit_count"][which, tick.hour] += 1
    rows["habit_time"][which] = tick.time


def grow(rows: Rows, which: NDArray[np.intp], hour: NDArray[np.integer] | int, size: Floats) -> None:
    """Take note of how large it was, by the hour it began in."""
    sizes = rows["habit_size"]
    sizes[which, hour] = np.maximum(sizes[which, hour], size)
