"""Rules of thumb for how far a series will have risen: none is right for all, and each is known by its past errors.

A rule says how high the highest value of the next h hours is, from values of every hour until then. They are the ways
in which disks and queues fill: as in the last hours, as in the last days, as at this hour of yesterday or of last week,
or up to a peak again, which is how saw-teeth look. Slopes are medians of differences (Sen 1968,
DOI 10.1080/01621459.1968.10480934), over whole days the seasonal one of Hirsch, Slack and Smith (1982,
DOI 10.1029/WR018i001p00107): neither a rhythm nor a clean-up disturbs them.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Values = NDArray[np.float32]
Rows = NDArray[np.intp]

DAY: Final = 24
WEEK: Final = 168
"""In hours."""
AHEAD: Final = np.array([1, 2, 4, 8, 16, 24, 48, 72, 120])
"""Hours ahead for which the errors of the rules are known."""
NEEDS: Final = np.array([12, 12, 12, 48, 120, 48, 216, 96, 192, 120])
"""Hours of the past without which what a rule says tells nothing of it."""
_SEN: Final = 7
"""Hours over which a slope is the median of all pairs."""


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """What the rules go by at O hours of E series; each array has the shape (E, O).

    Parameters
    ----------
    slopes : Values, shape (5, E, O)
        By hour, of the rules that go on from the newest value.
    daily, weekly : Values
        By hour, of the rules that repeat a day or a week.
    peaks : tuple of two Values
        Highest value of three days and of a week.
    peak_slopes : tuple of two Values
    """

    slopes: Values
    daily: Values
    weekly: Values
    peaks: tuple[Values, Values]
    peak_slopes: tuple[Values, Values]


def rules(values: Values, at: Rows) -> Rules:
    """Return what the rules go by.

    Parameters
    ----------
    values : Values, shape (E, N)
        The highest of each hour, without gaps.
    at : Rows, shape (O,)
        Hours at which the rules are asked, ascending; they know what is there up to and including that hour.
    """
    three, week = _highest(values, 72), _highest(values, WEEK)
    now = values[:, at]
    slopes = np.stack(
        [
            now - _before(values, at, 1),
            (now - _before(values, at, 3)) / 3,
            _sen(values, at),
            _seasonal(values, at, DAY, 3 * DAY, 3),
            (now - _before(values, at, WEEK)) / WEEK,
        ]
    )
    return Rules(
        np.maximum(slopes, 0),
        np.maximum(_seasonal(values, at, DAY, 10 * DAY, 8), 0),
        np.maximum(_seasonal(values, at, WEEK, WEEK, 8), 0),
        (three[:, at], week[:, at]),
        (
            np.maximum(three[:, at] - _before(three, at, 72), 0) / 72,
            np.maximum(week[:, at] - _before(week, at, 120), 0) / 120,
        ),
    )


def said(found: Rules, values: Values, at: Rows) -> Values:
    """Return what the rules say: the highest value of the next `AHEAD` hours, shape (rules, E, O, AHEAD)."""
    now, ahead = values[:, at, np.newaxis], AHEAD.astype(np.float32)
    told = [now + slope[..., np.newaxis] * ahead for slope in found.slopes]
    for period, slope in ((DAY, found.daily), (WEEK, found.weekly)):
        told.append(_repeated(values, at, period, slope))
    for peak, slope in zip(found.peaks, found.peak_slopes, strict=True):
        told.append(peak[..., np.newaxis] + slope[..., np.newaxis] * ahead)
    told.append(np.broadcast_to(found.peaks[1][..., np.newaxis], told[0].shape))
    found_all: Values = np.maximum(np.stack(told), now)
    return found_all


def path(found: Rules, values: Values) -> tuple[Values, Values]:
    """Return what the rules say at the newest hour for every hour ahead, and how fast it goes on after the last.

    Returns
    -------
    Values, shape (rules, E, AHEAD[-1]), and Values, shape (rules, E)
    """
    hours = np.arange(1, AHEAD[-1] + 1)
    now = values[:, -1:]
    newest = [slope[:, -1:] for slope in found.slopes]
    told = [now + slope * hours for slope in newest]
    for period, slope in ((DAY, found.daily[:, -1:]), (WEEK, found.weekly[:, -1:])):
        times = -(-hours // period)
        repeated = values[:, -period:][:, hours - (times - 1) * period - 1] + times * period * slope
        told.append(np.maximum.accumulate(np.maximum(repeated, now), axis=1))
        newest.append(slope)
    for peak, slope in zip(found.peaks, found.peak_slopes, strict=True):
        told.append(peak[:, -1:] + slope[:, -1:] * hours)
        newest.append(slope[:, -1:])
    told.append(np.broadcast_to(found.peaks[1][:, -1:], told[0].shape))
    newest.append(np.zeros_like(now))
    return np.maximum(np.stack(told), now).astype(np.float32), np.stack(newest)[..., 0]


def came(values: Values, at: Rows) -> Values:
    """Return the highest value from each hour to each of `AHEAD` hours later, NaN where that is yet to come.

    Its shape is (E, O, AHEAD).
    """
    series, hours = values.shape
    found = np.full((series, len(at), len(AHEAD)), np.nan, np.float32)
    for number, ahead in enumerate(AHEAD.tolist()):
        known = at + ahead < hours
        if known.any():
            found[:, known, number] = _highest(values, ahead + 1)[:, at[known] + ahead]
    return found


def _before(values: Values, at: Rows, hours: int) -> Values:
    """Return the values so many hours earlier; the oldest where there is none."""
    return values[:, np.maximum(at - hours, 0)]


def _padded(values: Values, hours: int) -> Values:
    return np.concatenate([np.repeat(values[:, :1], hours, axis=1), values], axis=1)


def _highest(values: Values, hours: int) -> Values:
    """Return the highest of so many hours up to each: log2 comparisons, by spans that double."""
    found, span = values, 1
    while span < hours:
        more = min(span, hours - span)
        found = np.maximum(found, _padded(found, more)[:, : values.shape[1]])
        span += more
    return found


def _sen(values: Values, at: Rows) -> Values:
    """Return the median slope of all pairs of the newest hours."""
    windows = sliding_window_view(_padded(values, _SEN - 1), _SEN, axis=1)[:, at]
    pairs = [(windows[..., i] - windows[..., j]) / np.float32(i - j) for i in range(_SEN) for j in range(i)]
    return _median(np.stack(pairs, axis=-1))


def _seasonal(values: Values, at: Rows, period: int, over: int, every: int) -> Values:
    """Return the median slope from each hour to the same of the period before, of every few of so many hours."""
    differences = (values[:, period:] - values[:, :-period]) / np.float32(period)
    if not differences.shape[1]:
        return np.zeros((len(values), len(at)), np.float32)
    back = np.arange(over // every) * every
    rows = np.maximum(at[:, np.newaxis] - period - back, 0)
    return _median(differences[:, rows])


def _median(values: Values) -> Values:
    """Return the median along the last axis, which may be changed: the upper of two middle ones."""
    middle = values.shape[-1] // 2
    values.partition(middle, axis=-1)
    return values[..., middle]


def _repeated(values: Values, at: Rows, period: int, slope: Values) -> Values:
    """Return the highest of the next hours if the last period repeats itself, higher by its slope."""
    found, whole = [], _highest(values, period)[:, at]
    for ahead in AHEAD.tolist():
        times = -(-ahead // period)
        rest = ahead - (times - 1) * period
        part = whole if rest == period else _highest(values, rest)[:, np.maximum(at - period + rest, 0)]
        height = part + times * period * slope
        if times > 1:
            height = np.maximum(height, whole + (times - 1) * period * slope)
        found.append(height)
    return np.maximum.accumulate(np.stack(found, axis=-1), axis=-1)
