"""Novelty: distance to the values, and pairs of successive values, that a series has had before.

Seen values are the leaders of the leader algorithm (Hartigan 1975, Clustering Algorithms, ISBN 0-471-35645-X): a value
far from all of them becomes one itself, in the place of the one not matched for the longest time.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import Rows
from detectors.entity_state import Column
from detectors.types import Flags, Floats
from detectors.units import MINUTE

SEEN_VALUES: Final = 64
"""Number of values, and of pairs, kept per series."""
VALUE_TOLERANCE: Final = 0.05
"""Distance, as a share of the range, within which a value counts as seen before."""
PAIR_TOLERANCE: Final = 0.1
"""The same for a pair of a value and the one before it, in each direction."""
LARGEST: Final = 20.0
"""Distances, in tolerances, are clipped here."""


def columns(rows: tuple[int, ...]) -> dict[str, Column]:
    """Return the state columns of an entity with series of shape `rows`."""
    shape = (*rows, SEEN_VALUES)
    return {
        "value_leaders": Column(np.inf, shape, np.float32),
        "pair_leaders": Column(np.inf, (*rows, 2, SEEN_VALUES), np.float32),
        "value_met": Column(0, shape, np.uint16),  # minutes, modulo 45 days
        "pair_met": Column(0, shape, np.uint16),
    }


@dataclass(frozen=True, slots=True, eq=False)
class Novelty:
    """Distance to the nearest seen value and pair in tolerances, at most LARGEST, and their index; shape (R,)."""

    value: Floats
    pair: Floats
    value_nearest: NDArray[np.intp]
    pair_nearest: NDArray[np.intp]


def observe(rows: Rows, x: Floats, previous: Floats, span: Floats) -> Novelty:
    """Compare the values `x`, and their pairs with `previous`, with the seen ones; `span` is the range so far."""
    point, before = x.astype(np.float32)[:, None], previous.astype(np.float32)[:, None]
    values = np.abs(rows["value_leaders"] - point)
    pairs = rows["pair_leaders"]
    across, along = pairs[:, 0] - point, pairs[:, 1] - before
    across *= across
    along *= along
    across += along
    each = np.arange(len(x))
    value_nearest, pair_nearest = values.argmin(axis=1), across.argmin(axis=1)
    value = values[each, value_nearest] / (VALUE_TOLERANCE * span)
    pair = np.sqrt(across[each, pair_nearest]) / (PAIR_TOLERANCE * np.sqrt(2.0) * span)
    return Novelty(np.minimum(value, LARGEST), np.minimum(pair, LARGEST), value_nearest, pair_nearest)


def learn(rows: Rows, x: Floats, previous: Floats, seen: Novelty, time: float) -> None:
    """Store novel values and pairs; record the time at which the others were matched."""
    now = np.uint16(int(time // MINUTE) % 65_536)
    values, pairs, each = rows["value_leaders"], rows["pair_leaders"], np.arange(len(x))
    place = _place(seen.value > 1, seen.value_nearest, values, rows["value_met"], now)
    new = np.flatnonzero(seen.value > 1)
    values[new, place[new]] = x[new]
    rows["value_met"][each, place] = now
    place = _place(seen.pair > 1, seen.pair_nearest, pairs[:, 0], rows["pair_met"], now)
    new = np.flatnonzero(seen.pair > 1)
    pairs[new, 0, place[new]] = x[new]
    pairs[new, 1, place[new]] = previous[new]
    rows["pair_met"][each, place] = now


def _place(
    novel: Flags,
    nearest: NDArray[np.intp],
    seen_values: NDArray[np.float32],
    met: NDArray[np.uint16],
    now: np.uint16,
) -> NDArray[np.intp]:
    """Return the index to write: the nearest, or for a novel value an empty or the least recently matched one."""
    place = nearest.copy()
    rows = np.flatnonzero(novel)
    age = (now - met[rows]).astype(np.int64)  # unsigned: correct across the wrap
    age[np.isinf(seen_values[rows])] = 65_536
    place[rows] = age.argmax(axis=1)
    return place
