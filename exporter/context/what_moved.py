"""What else moved: which series changed around a time more than they usually do, and how often that comes by chance."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from detectors.calibration import KAPPA
from detectors.types import Flags, Floats

BEFORE: Final = 2
"""Samples before the time at which a change that counts may begin,"""
AFTER: Final = 6
"""and after it."""
WIDTH: Final = 6
"""Samples of the medians that are compared: those after a moment with as many before it."""
FEWEST: Final = 24
"""Samples of a series before the time without which its usual is not known."""
MOST: Final = 50.0
"""Largest size: that of a series that has never moved before."""
_POWER: Final = 4.0
"""Of the mean of usual changes: the larger it is, the more the largest counts."""
_NOISE: Final = 1.5
"""Mean steps from sample to sample that a change usually has, at least: counts near zero have medians at rest."""
_AT_ONCE: Final = 2000
"""Series whose windows are laid out at once, which takes six times the memory of their samples."""


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """How S series moved.

    Parameters
    ----------
    size : Floats, shape (S,)
        Change around the time in units of the series' own usual changes; NaN where too little is known.
    chance : Floats, shape (S,)
        Share of series that move so much, in these units, around any moment.
    before, after : Floats, shape (S,)
        Levels before and after the change.
    """

    size: Floats
    chance: Floats
    before: Floats
    after: Floats


def moved_at(values: Floats, at: int) -> Moved:
    """Tell how series moved around a sample, compared with how each of them moves at other times.

    A change is the difference of the medians of neighbouring windows, the largest for any beginning from BEFORE samples
    before to AFTER after: one odd sample moves no median, and slow rhythms and trends move neighbours alike. Its size
    is that in units of the series' own usual changes: the power mean of the largest in as many samples, at all earlier
    times, so that one that often jumps must jump further. Nothing is concluded from curves that only look alike. How
    often a size comes by chance is counted over all series at earlier times, each left out of its own usual, so that
    heavy tails need no assumption; beyond the largest of them it follows the power law of all scores.

    Parameters
    ----------
    values : Floats, shape (S, N)
        NaN where there is no sample.
    at : int
        Column of the first sample of the time.
    """
    series = len(values)
    nothing = np.full(series, np.nan)
    if at < FEWEST or not series:
        return Moved(nothing, nothing, nothing, nothing)
    # While the time has just been, half a window is enough for what comes after it.
    missing = min(max(at + WIDTH - values.shape[1], 0), WIDTH // 2)
    values = np.pad(values, ((0, 0), (0, missing)), constant_values=np.nan)
    known, chosen = [], []
    for first in range(0, series, _AT_ONCE):
        size, usual, before, after = _sizes(values[first : first + _AT_ONCE], at)
        known.append(usual[np.isfinite(usual)])
        chosen.append((size, before, after))
    size, before, after = (np.concatenate(each) for each in zip(*chosen, strict=True))
    return Moved(size, _chance(size, np.concatenate(known)), before, after)


def _sizes(values: Floats, at: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Return sizes, those at earlier times, shape (S, B), and the levels before and after."""
    before, after = _levels(values)
    rows = np.arange(len(values))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        difference = np.abs(after - before)
        near = difference[:, at - BEFORE : at + AFTER + 1]
        own = np.fmax.reduce(near, axis=1, initial=np.nan)
        where = at - BEFORE + np.argmax(np.nan_to_num(near, nan=-1.0), axis=1)
        blocks = _blocks(difference[:, : at - BEFORE - WIDTH], BEFORE + AFTER)
        power = np.nan_to_num(blocks**_POWER)
        count = np.isfinite(blocks).sum(axis=1)
        noise = _NOISE * np.nanmean(np.pad(np.abs(np.diff(values[:, :at])), ((0, 0), (0, 1))), axis=1)
        enough = (np.isfinite(values[:, :at]).sum(axis=1) >= FEWEST) & (count > 1)
        size = np.where(enough, _in_units(own, power.sum(axis=1) / count, noise), np.nan)
        others = _means_of_others(power, np.isfinite(blocks))
        usual = np.where(enough[:, None], _in_units(blocks, others, noise[:, None]), np.nan)
    return size, usual, before[rows, where], after[rows, where]


def _levels(values: Floats) -> tuple[Floats, Floats]:
    """Return the medians before and from each column on, shape (S, N + 1); NaN where half the samples are missing."""
    there = np.isfinite(values)
    last = np.maximum.accumulate(np.where(there, np.arange(values.shape[1]), 0), axis=1)
    filled = np.take_along_axis(values, last, axis=1)  # the first ones may be missing still
    median = np.median(sliding_window_view(filled, WIDTH, axis=1), axis=2)
    enough = 2 * sliding_window_view(there, WIDTH, axis=1).sum(axis=2) >= WIDTH
    median = np.where(enough, median, np.nan)
    empty = np.full((len(values), WIDTH), np.nan)
    return np.hstack([empty, median]), np.hstack([median, empty])


def _blocks(values: Floats, span: int) -> Floats:
    """Return the largest of each `span` columns, from the end on, shape (S, B)."""
    count = values.shape[1] // span
    if not count:
        return np.empty((len(values), 0))
    found: Floats = np.fmax.reduce(values[:, values.shape[1] - count * span :].reshape(-1, count, span), axis=2)
    return found


def _means_of_others(power: Floats, there: Flags) -> Floats:
    """Return the mean over all blocks but each and its neighbours, in which one change may lie too, shape (S, B)."""
    found: list[Floats] = []
    for each in (power, there.astype(float)):
        padded = np.pad(each, ((0, 0), (1, 1)))
        found.append(each.sum(axis=1, keepdims=True) - padded[:, :-2] - each - padded[:, 2:])
    return np.where(found[1] > 0, np.maximum(found[0], 0.0) / np.maximum(found[1], 1.0), np.nan)


def _in_units(change: Floats, power: Floats, noise: Floats) -> Floats:
    """Return changes in units of what is usual, MOST at most."""
    usual = np.maximum(np.maximum(power, 0.0) ** (1 / _POWER), noise)
    found: Floats = change / np.maximum(usual, change / MOST + 1e-300)
    return found


def _chance(size: Floats, usual: Floats) -> Floats:
    """Return which share of the changes at earlier times was as large."""
    if not len(usual):
        return np.full(len(size), np.nan)
    ordered = np.sort(usual)
    above = (len(ordered) - np.searchsorted(ordered, size, side="left")) / len(ordered)
    known = max(len(ordered) // 1000, 1)  # beyond so many of the largest the law is used
    anchor = max(float(ordered[-known]), 1e-300)
    with np.errstate(invalid="ignore"):
        far = known / len(ordered) * np.maximum(size / anchor, 1.0) ** -KAPPA
        found: Floats = np.where(np.isfinite(size), np.where(size > anchor, far, above), np.nan)
    return found
