"""When a series left its band: the first sample of the excursion that became an incident."""

import math
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from detectors.types import Floats, Key
from detectors.units import HOUR

CALM: Final = 3
"""Samples within its band before which a series had not left it yet,"""
RUN: Final = 2
"""and samples outside of it in a row, before a shorter pause, that show that it had."""
Small = NDArray[np.float32]


class Sample(Protocol):
    """What was judged at one time: `wide` has value, expectation, lower and upper limit, shape (4, E, C)."""

    @property
    def time(self) -> float:
        """Unix seconds."""

    @property
    def keys(self) -> tuple[Key, ...]:
        """The entities."""

    @property
    def wide(self) -> Small:
        """The figures."""


def left_band(
    samples: Iterable[Sample], keys: tuple[Key, ...], rows: Sequence[int], since: Floats, step: float
) -> Floats:
    """Return when series last left their band, as far back as they stayed out of it.

    Parameters
    ----------
    samples : iterable of Sample
        The newest first.
    keys : tuple of Key
        Those of the newest verdict.
    rows : sequence of int, length K
    since : Floats, shape (K,)
        A time at which they were anomalous, in Unix seconds.
    step : float
        Seconds between two samples; one that is missing counts as within the band.

    Returns
    -------
    Floats, shape (K,)
        Unix seconds of the first sample outside the band, or half-way out on the way there. A pause of less than
        CALM samples within the band counts as outside where RUN or more lay outside before it: a single one is
        chance. An hour before `since` at most; NaN where none is known.
    """
    moved, active = np.full(len(rows), np.nan), np.ones(len(rows), np.bool_)
    gap, run = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    at, there, mapped = np.array(rows, np.intp), np.ones(len(rows), np.bool_), keys
    newer = math.nan
    for sample in samples:
        if sample.keys is not mapped:
            mapped = sample.keys
            index = {key: row for row, key in enumerate(mapped)}
            at = np.array([index.get(keys[row], -1) for row in rows], np.intp)
            there = at >= 0
            at = np.maximum(at, 0)
        out, on_its_way = (each & there for each in _outside(sample.wide[:, at]))
        late = sample.time > since
        early = active & ~late & (sample.time >= since - HOUR)
        if math.isfinite(newer):
            gap += early * max(round((newer - sample.time) / step) - 1, 0)
        newer = sample.time
        on = out | (on_its_way & np.isfinite(moved))
        beyond = early & out & (gap > 0)
        run = np.where(beyond, run + 1, np.where(early, 0, run))
        reached = beyond & (run >= RUN)
        moved = np.where((late & out) | (early & on & (gap == 0)) | reached, sample.time, moved)
        gap = np.where(reached, 0, gap + (early & ~on))
        active &= (late | early) & (gap < CALM)
        if not active.any():
            break
    return moved


def _outside(wide: Small) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which series lie outside their band in a channel, and which more than half-way out, shapes (K,)."""
    value, expected, lower, upper = wide.astype(np.float64)
    with np.errstate(invalid="ignore"):
        out = (value < lower) | (value > upper)
        half = (2 * value > expected + upper) | (2 * value < expected + lower)
    return out.any(axis=1), half.any(axis=1)
