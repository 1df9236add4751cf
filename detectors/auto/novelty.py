"""Novelty: distance to the pairs of successive values that a series has had before.

Seen pairs are the leaders of the leader algorithm (Hartigan 1975, Clustering Algorithms, ISBN 0-471-35645-X): a pair
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

SEEN_PAIRS: Final = 64
"""Number of pairs kept per series."""
TOLERANCE: Final = 0.1
"""Distance, as a share of the range in each direction, within which a pair counts as seen before."""
LARGEST: Final = 20.0
"""Distances, in tolerances, are clipped here."""


def columns(rows: tuple[int, ...]) -> dict[str, Column]:
    """Return the state columns of an entity with series of shape `rows`."""
    return {
        "pair_leaders": Column(np.inf, (*rows, 2, SEEN_PAIRS), np.float32),
        "pair_met": Column(0, (*rows, SEEN_PAIRS), np.uint16),  # minutes, modulo 45 days
    }


@dataclass(frozen=True, slots=True, eq=False)
class Novelty:
    """Distance to the nearest seen pair in tolerances, at most LARGEST, and its index; shape (R,)."""

    pair: Floats
    nearest: NDArray[np.intp]


def observe(rows: Rows, x: Floats, previous: Floats, span: Floats) -> Novelty:
    """Compare the pairs of `previous` and `x` with the seen ones; `span` is the range so far."""
    pairs = rows["pair_leaders"]
    across, along = pairs[:, 0] - x.astype(np.float32)[:, None], pairs[:, 1] - previous.astype(np.float32)[:, None]
    across *= across
    along *= along
    across += along
    nearest = across.argmin(axis=1)
    pair = np.sqrt(across[np.arange(len(x)), nearest]) / (TOLERANCE * np.sqrt(2.0) * span)
    return Novelty(np.minimum(pair, LARGEST), nearest)


def learn(rows: Rows, x: Floats, previous: Floats, seen: Novelty, time: float) -> None:
    """Store novel pairs; record the time at which the others were matched."""
    now = np.uint16(int(time // MINUTE) % 65_536)
    pairs, each = rows["pair_leaders"], np.arange(len(x))
    place = _place(seen.pair > 1, seen.nearest, pairs[:, 0], rows["pair_met"], now)
    new = np.flatnonzero(seen.pair > 1)
    pairs[new, 0, place[new]] = x[new]
    pairs[new, 1, place[new]] = previous[new]
    rows["pair_met"][each, place] = now


def _place(
    novel: Flags,
    nearest: NDArray[np.intp],
    leaders: NDArray[np.float32],
    met: NDArray[np.uint16],
    now: np.uint16,
) -> NDArray[np.intp]:
    """Return the index to write: the nearest, or for a novel pair an empty or the least recently matched one."""
    place = nearest.copy()
    rows = np.flatnonzero(novel)
    age = (now - met[rows]).astype(np.int64)  # unsigned: correct across the wrap
    age[np.isinf(leaders[rows])] = 65_536
    place[rows] = age.argmax(axis=1)
    return place
