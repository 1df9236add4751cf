"""When a series reaches its limit: the first time that it is there, early, expected and late.

The interval is made of the errors that the rules of `growth` have made on this series itself, as in conformal
prediction by past errors (Gibbs and Candès 2021, arXiv:2106.00104): for each number of hours ahead the rule with the
smallest errors is taken, those that have just failed count less, and its errors are added to what it says. Early is
where the highest 5 % are at the limit, late where the lowest 5 % are.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.types import Flags, Floats
from exporter.context.growth import AHEAD, NEEDS, Rows, Values, came, path, rules, said

CELLS: Final = 504
"""Hours of the past that are known of a series: three weeks."""
LEAST: Final = 24
"""Hours without which nothing is said."""
SIGHT: Final = 4
"""Times as far ahead as the past is known: further on nothing is said to be reached."""
EDGE: Final = 0.05
"""Share of the future that is left out on each side."""
_NEW: Final = 12
"""Hours of the past for which errors are known for every hour."""
_APART: Final = 7
"""Hours between two of the past before that: none of the hours of a day is left out in the long run."""
_NEWEST: Final = 3
"""Newest forecasts of an hour that tell whether a rule has just failed."""
_ALIKE: Final = np.float32(0.5)
"""A rise of at least this share of another one is like it."""
_ENOUGH: Final = 4
"""Errors of rises that are alike which tell more than all errors do."""
_WIDER: Final = 1.25
"""What intervals are wider than past errors: they are of the rule that was the best of many, as it turned out."""
_FINEST: Final = np.float32(1e-4)
"""Errors below this share of the way to the limit are none."""
_CELL: Final = 0.5
"""Hours that the highest value of an hour is before or after its middle."""


@dataclass(frozen=True, slots=True, eq=False)
class Passage:
    """When the limit is reached, each of shape (E,).

    Parameters
    ----------
    early, expected, late : Floats
        Hours from now; infinite where it is not in sight, NaN where too little is known.
    bound : Floats
        Share of the scale above which the next hour is a surprise.
    """

    early: Floats
    expected: Floats
    late: Floats
    bound: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Paths:
    """How series go on: what the best rules say, and by how much they have been wrong.

    Parameters
    ----------
    known : Rows, shape (E,)
        Hours of the past that are known.
    now, slope : Values, shape (E,)
        The newest value, and how fast it goes on after the last hour ahead.
    height : Values, shape (E, AHEAD[-1])
    at_hour : Rows, shape (AHEAD[-1],)
        Which of `AHEAD` an hour belongs to.
    low, middle, high : Floats, shape (E, AHEAD)
        Errors.
    """

    known: Rows
    now: Values
    slope: Values
    height: Values
    at_hour: Rows
    low: Floats
    middle: Floats
    high: Floats


def passage(values: Values) -> Passage:
    """Return when series reach 0, from below.

    Parameters
    ----------
    values : Values, shape (E, N)
        The highest of each hour, the newest last, at most about 1 away from 0; NaN where there is none.
    """
    paths = _paths(values)
    ends = [_reached(paths, error) for error in (paths.high, paths.middle, paths.low)]
    sight = (SIGHT * paths.known).astype(np.float64)
    early, expected, late = (np.where(end > sight, np.inf, end) for end in ends)
    early, late = np.maximum(early - _CELL, 0), late + _CELL
    unknown = paths.known < LEAST
    for end in (early, expected, late):
        end[unknown] = np.nan
    next_hour = paths.height[:, 0] + 2 * paths.high[:, 0] - paths.middle[:, 0]
    bound = np.where(unknown, np.nan, np.maximum(next_hour, paths.now) + _FINEST)
    return Passage(early, expected, late, bound)


def cone(values: Values) -> tuple[Floats, Floats, Floats]:
    """Return the highest value until each hour from now on: with 95 %, 50 % and 5 % of what may come below it.

    Each has the shape (E, 1 + AHEAD[-1]), and NaN where too little is known; `values` are as those of `passage`.
    """
    paths = _paths(values)
    found = [_ahead(paths, error) for error in (paths.high, paths.middle, paths.low)]
    for each in found:
        each[paths.known < LEAST] = np.nan
    return found[0], found[1], found[2]


def _paths(values: Values) -> _Paths:
    series, hours = values.shape
    first = np.where(np.isfinite(values).any(axis=1), np.argmax(np.isfinite(values), axis=1), hours)
    known = hours - first
    values = _filled(values, first)
    at = np.unique(np.concatenate([np.arange(max(hours - _NEW, 0), hours), np.arange(hours - 1, 11, -_APART)]))
    found = rules(values, at)
    predicted = said(found, values, at)
    errors = came(values, at) - predicted
    for number, needs in enumerate(NEEDS.tolist()):
        errors[number][at < first[:, np.newaxis] + needs] = np.nan
    newest = errors[:, :, (at < hours - 1) & (at >= hours - 1 - _NEWEST), 0]
    _leave_alike(errors, predicted - values[:, at, np.newaxis])
    best, times = _chosen(errors, newest)
    each = np.arange(series)[:, np.newaxis]
    heights, slopes = path(found, values)
    errors = np.moveaxis(errors[best, each, :, np.arange(len(AHEAD))], 2, 1)  # (E, O, AHEAD)
    low, middle, high = _spread(errors)
    # Few errors of long spans, which overlap, and a rule that has just failed know less than they seem to.
    wider = _WIDER * (1 + AHEAD / np.maximum((known - 2 * LEAST)[:, np.newaxis], AHEAD)) * np.sqrt(times)
    low, high = middle + (low - middle) * wider, middle + (high - middle) * wider
    at_hour = np.searchsorted(AHEAD, np.arange(1, AHEAD[-1] + 1))
    height = np.take_along_axis(heights, best[:, at_hour][np.newaxis], axis=0)[0]
    slope = slopes[best[:, -1], each[:, 0]]
    return _Paths(known, values[:, -1], slope, height, at_hour, low, middle, high)


def _filled(values: Values, first: Rows) -> Values:
    """Return values without gaps: each goes on with the one before, what is before all with the first."""
    missing = np.isnan(values)
    if not missing.any():
        return values
    at = np.where(missing, 0, np.arange(values.shape[1]))
    at = np.maximum(np.maximum.accumulate(at, axis=1), np.minimum(first, values.shape[1] - 1)[:, np.newaxis])
    return np.nan_to_num(np.take_along_axis(values, at, axis=1))


def _leave_alike(errors: Values, rises: Values) -> None:
    """Leave the errors of when a rule said that it rises about as much as it says now, if it has said so before.

    A queue with bursts has often begun to rise as if it did not end. `rises`, shape (rules, E, O, AHEAD), the newest
    last; the other errors become NaN.
    """
    alike = rises >= _ALIKE * rises[:, :, -1:]
    enough = (alike & np.isfinite(errors)).sum(axis=2, keepdims=True) >= _ENOUGH
    errors[enough & ~alike] = np.nan


def _chosen(errors: Values, newest: Values) -> tuple[Rows, Values]:
    """Return the best rule by hours ahead, and how many times its usual errors are expected of it; (E, AHEAD) each.

    What a rule has failed by in the last hours, upwards and more than usual, adds up if it goes on so; what it has
    failed by downwards, after a clean-up, does not. `newest`, shape (rules, E, hours), are those of one hour ahead.
    """
    there = np.isfinite(errors)
    sizes = np.abs(np.where(there, errors, np.float32(0)))
    with np.errstate(invalid="ignore", divide="ignore"):
        usual = sizes.sum(axis=2) / there.sum(axis=2) + _FINEST
    newest = np.nan_to_num(newest)
    above, below = (
        np.maximum(np.median(np.maximum(each, 0), axis=2) - usual[:, :, 0], 0) for each in (newest, -newest)
    )
    score = usual + np.nan_to_num(above)[..., np.newaxis] * AHEAD + np.nan_to_num(below)[..., np.newaxis]
    best = np.argmin(np.where(np.isnan(score), np.inf, score), axis=0)
    chosen = best[np.newaxis]
    times = np.take_along_axis(score, chosen, axis=0)[0] / np.take_along_axis(usual, chosen, axis=0)[0]
    return best, np.nan_to_num(times, nan=1.0)


def _spread(errors: Values) -> tuple[Floats, Floats, Floats]:
    """Return the lower, middle and upper error by hours ahead, shape (E, AHEAD); 0 where there is none yet."""
    ordered = np.sort(errors, axis=1)  # NaN last
    last = np.isfinite(ordered).sum(axis=1) - 1
    found = []
    for share in (EDGE, 0.5, 1 - EDGE):
        at = np.maximum(last, 0) * share
        low = np.floor(at).astype(np.intp)
        high = np.minimum(low + 1, np.maximum(last, 0))
        below, above = (np.take_along_axis(ordered, each[:, np.newaxis], axis=1)[:, 0] for each in (low, high))
        found.append(np.nan_to_num(below + (at - low) * (above - below)))
    return found[0], found[1], found[2]


def _ahead(paths: _Paths, error: Floats) -> Floats:
    """Return the path with so much error: the highest value until each hour from now on, shape (E, 1 + AHEAD[-1])."""
    at_hour, now = paths.at_hour, paths.now[:, np.newaxis]
    grid = np.concatenate([[0], AHEAD])
    hours = np.arange(1, AHEAD[-1] + 1)
    known = np.concatenate([np.zeros((len(error), 1)), error], axis=1)
    share = (hours - grid[at_hour]) / (grid[at_hour + 1] - grid[at_hour])
    added = known[:, at_hour] * (1 - share) + known[:, at_hour + 1] * share
    ahead = np.maximum.accumulate(np.maximum(paths.height + added, now), axis=1)
    return np.concatenate([now, ahead], axis=1)


def _reached(paths: _Paths, error: Floats) -> Floats:
    """Return the hours until a path with so much error is at 0, shape (E,); infinite where it never is."""
    every = _ahead(paths, error)
    there: Flags = every >= 0
    first = np.maximum(np.argmax(there, axis=1), 1)
    rows = np.arange(len(every))
    before, after = every[rows, first - 1], every[rows, first]
    pace = np.maximum(paths.slope + error[:, -1] / AHEAD[-1], 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        within = first - 1 + np.where(after > before, -before / (after - before), 1.0)
        beyond = np.where(pace > 1e-9, AHEAD[-1] - every[:, -1] / pace, np.inf)
    return np.where(there[:, 0], 0.0, np.where(there.any(axis=1), within, beyond))
