"""Time of day and of week in a time zone, and running means by hour."""

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from difflib import get_close_matches
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
from numpy.typing import NDArray

from detectors.types import Flags, Floats
from detectors.units import HOUR

_SATURDAY: Final = 5 * 24


class SlotWeights(NamedTuple):
    """The two hourly slots whose centres enclose a time, and the weight of the second one (0 to 1)."""

    before: int
    after: int
    share: float


@dataclass(frozen=True, slots=True)
class SeasonalTime:
    """The time of one sample as seasonal profiles see it.

    Parameters
    ----------
    time, step : float
        Unix seconds of the sample, and seconds between samples.
    hour : int
        Local hour of the day, 0 to 23.
    day, day_type, week : SlotWeights
        Slots in the profile of the day (24 hours), of the two types of day (24 hours of Monday to Friday, then 24 of
        Saturday and Sunday) and of the week (168 hours from Monday 0:00).

    Examples
    --------
    >>> at = SeasonalTime.at(1_767_571_200.0 + 7 * 3600, 60.0, UTC)  # Monday 7:00, half-way between two slots
    >>> at.hour, at.day
    (7, SlotWeights(before=6, after=7, share=0.5))
    """

    time: float
    step: float
    hour: int
    day: SlotWeights
    week: SlotWeights
    day_type: SlotWeights

    @property
    def per_hour(self) -> float:
        """Number of samples in an hour, at least one."""
        return max(HOUR / self.step, 1.0)

    @classmethod
    def at(cls, time: float, step: float, zone: tzinfo, weekday: int = -1) -> "SeasonalTime":
        """Return the seasonal time of the sample at `time` (Unix seconds) in the time zone `zone`.

        It counts as the same hour of the day `weekday`, 0 for Monday; -1 for its own.
        """
        local = datetime.fromtimestamp(time, zone)
        hours = local.hour + local.minute / 60 + local.second / 3600
        week = _slots(24 * (local.weekday() if weekday < 0 else weekday) + hours, 168)
        before, after = (slot % 24 + 24 * (slot >= _SATURDAY) for slot in (week.before, week.after))
        return cls(time, step, local.hour, _slots(hours, 24), week, SlotWeights(before, after, week.share))


def _slots(hours: float, count: int) -> SlotWeights:
    whole, share = divmod(hours - 0.5, 1.0)
    return SlotWeights(int(whole) % count, (int(whole) + 1) % count, share)


Singles = NDArray[np.float32]


def time_zone(name: str) -> tzinfo:
    """Return the time zone of an IANA name. Raises ValueError with the nearest known name."""
    if name == "UTC":
        return UTC  # needs no time zone database
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        near = get_close_matches(name, available_timezones(), n=1)
        hint = f", did you mean {near[0]!r}?" if near else "; use a name of the IANA database such as Europe/Berlin"
        raise ValueError(f"unknown time zone {name!r}{hint}") from None


def average(mean: Singles, count: Singles, which: Flags, value: Floats, slowest: float) -> None:
    """Update the running `mean` of `count` samples where `which`, in place. The gain is at least `slowest`."""
    count += which
    gain = np.maximum(1.0 / np.maximum(count, 1.0), min(slowest, 1.0))
    mean += np.where(which, gain * (value - mean), 0.0)


def learn_hour(
    profile: Singles,
    visits: Singles,
    value: Floats,
    limit: Floats,
    there: Flags,
    learns: Flags,
    visit: float,
    first: int,
    most: float,
) -> None:
    """Update the mean of one hourly slot in place where `learns`, and also where `there` while the slot is new.

    Parameters
    ----------
    profile, visits : array of float32, shape (E, C)
        The slot's mean, and the number of samples behind it.
    value, limit : Floats, shape (E, C)
        The sample, and the largest distance from the mean that is learnt after the slot's first visit.
    there, learns : Flags, shape (E, C)
        Where there is a sample, and where it is normal.
    visit : float
        Samples in one visit of an hour.
    first : int
        Visits during which the slot is new.
    most : float
        Visits over which the mean is taken later.
    """
    miss = np.where(visits > 0, value - profile, 0.0)
    miss = np.where(visits < visit, miss, np.clip(miss, -limit, limit))
    start = np.where(visits > 0, profile, value)
    which = learns | (there & (visits < first * visit))
    visits += which
    gain = np.maximum(1.0 / np.maximum(visits, 1.0), 1.0 / (most * visit))
    profile[...] = np.where(which, start + gain * miss, profile)
