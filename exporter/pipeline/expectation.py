"""An answer of a person that an incident was expected: which incidents it covers, and up to what size."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from functools import cache
from typing import Final, Literal

import msgspec

from detectors.seasonality import time_zone
from detectors.types import Key
from detectors.units import DAY, HOUR, WEEK

When = Literal["once", "weekly", "daily", "always"]
BEGINS_WITHIN: Final = 4200.0
"""Seconds before and after the time of the week or day within which an expected incident begins: clocks are put forward
and back by an hour, also where nobody has set a time zone, and no job starts to the minute."""
CHANCE: Final = 0.5
"""How far beyond its band a value may lie that nobody spoke of, as a share of the band's width on that side: bands are
left by chance, and a second channel that does so makes an incident no larger."""
_SAME: Final = HOUR
"""Seconds by which the beginning of the one incident may be another: a job that begins again sees it elsewhere."""
_PERIODS: Final = {"weekly": WEEK, "daily": DAY}


class Limit(msgspec.Struct, frozen=True):
    """Up to where values of a channel outside their band are expected; None: no value on that side is."""

    channel: str
    low: float | None = None
    high: float | None = None


class Expectation(msgspec.Struct, frozen=True):
    """Incidents of one series that are expected. Times are Unix seconds.

    Parameters
    ----------
    since, over : float, float or None
        The incident that was answered; it was still open where `over` is None.
    at : float
        Samples later than this are concerned.
    when : str
        `once`: the incident that was answered. `weekly`, `daily`: those that begin around the same time of the week or
        of the day in `zone`. `always`: all of them.
    limits : list of Limit
        By channel; other values clearly outside their band are not expected.
    score : float or None
        Up to here an incident is expected whose worst reading lies within its band; None: none of them is.
    longest : float or None
        Seconds that an expected incident lasts at most; None: as long as it likes.
    until : float or None
        The optional end of all this.
    zone : str
        IANA name of the time zone in which hours are counted.
    """

    since: float
    over: float | None
    at: float
    when: When
    limits: list[Limit]
    score: float | None = None
    longest: float | None = None
    until: float | None = None
    zone: str = "UTC"

    def covers(self, since: float, now: float) -> bool:
        """Tell whether it is about an incident that has been open `since`, at the sample of `now`."""
        if self.until is not None and now > self.until:
            return False
        if self.when == "once":
            return self.since - _SAME <= since <= (self.at if self.over is None else self.over)
        if self.longest is not None and now - since > self.longest:
            return False
        if self.when == "always":
            return True
        period = _PERIODS[self.when]
        away = (_local(since, self.zone) - _local(self.since, self.zone)) % period
        return min(away, period - away) <= BEGINS_WITHIN


@cache
def zone_of(name: str) -> tzinfo:
    """Return a time zone; UTC for a name that this machine does not know, which another one may have written."""
    try:
        return time_zone(name)
    except ValueError:
        return UTC


def _local(seconds: float, zone: str) -> float:
    """Return what the clocks in a time zone show, in seconds since their 1970."""
    offset = datetime.fromtimestamp(seconds, zone_of(zone)).utcoffset()
    return seconds + (0.0 if offset is None else offset.total_seconds())


class Reading(msgspec.Struct, frozen=True):
    """The values of a series at one time, shape (C,) each; NaN where there is no such number."""

    values: Sequence[float]
    expected: Sequence[float]
    lower: Sequence[float]
    upper: Sequence[float]

    def sides(self) -> list[str]:
        """Return on which side of its band each channel lies: "high", "low", or "" within it."""
        return [
            "high" if value > upper else "low" if value < lower else ""
            for value, lower, upper in zip(self.values, self.lower, self.upper, strict=True)
        ]


def expects(
    expected: Expectation, channels: Sequence[str], newest: Reading, worst: Reading | None, score: float
) -> bool:
    """Tell whether an incident that is covered is no larger than what was answered.

    Parameters
    ----------
    channels : sequence of str, length C
    newest, worst : Reading
        The newest sample, and the worst reading of the incident (None: not known).
    score : float
        Of the worst reading.
    """
    limits = {limit.channel: limit for limit in expected.limits}
    if not _within(limits, channels, newest):
        return False
    if worst is None or math.isnan(score):
        return expected.when == "once"
    if any(worst.sides()):
        return _within(limits, channels, worst)
    return expected.score is not None and score <= expected.score


def _within(limits: dict[str, Limit], channels: Sequence[str], reading: Reading) -> bool:
    """Tell whether no value lies further out than was answered, or than chance takes it."""
    for at, side in enumerate(reading.sides()):
        if not side:
            continue
        value, limit = reading.values[at], limits.get(channels[at])
        edge = reading.upper[at] if side == "high" else reading.lower[at]
        away = CHANCE * (edge - reading.expected[at])
        chance = edge if math.isnan(away) else edge + away
        said = None if limit is None else limit.high if side == "high" else limit.low
        if side == "high":
            if value > max(chance, -math.inf if said is None else said):
                return False
        elif value < min(chance, math.inf if said is None else said):
            return False
    return True


class Said(msgspec.Struct, frozen=True):
    """An expectation with the series it is about, and when it was taken back (Unix seconds; None: it stands)."""

    key: Key
    expectation: Expectation
    undone: float | None = None

    def stands(self, now: float) -> bool:
        """Tell whether it was given before the sample of `now`, and not taken back before it."""
        return self.expectation.at < now and (self.undone is None or now <= self.undone)


class JobFeedback(msgspec.Struct, frozen=True):
    """What people answered to incidents of a job, as far as its cycles heed it.

    Parameters
    ----------
    expected : tuple of Said
    accepted : tuple
        Series whose level is normal from the first sample after a time (Unix seconds).
    """

    expected: tuple[Said, ...] = ()
    accepted: tuple[tuple[Key, float], ...] = ()


NO_FEEDBACK: Final = JobFeedback()
