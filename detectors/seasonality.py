"""The time of day and week in a time zone, and running means by hour."""

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from difflib import get_close_matches
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
from numpy.typing import NDArray

from detectors.types import Flags, Floats
from detectors.units import HOUR


class SlotWeights(NamedTuple):
    """The two hours whose centres enclose a time, and how near it is to the second (0 to 1)."""

    before: int
    after: int
    share: float


@dataclass(frozen=True, slots=True)
class SeasonalTime:
    """One sample's time: Unix seconds, step in seconds, hour of day, place in the profiles of day and week."""

    time: float
    step: float
    hour: int
    day: SlotWeights
    week: SlotWeights

    @property
    def per_hour(self) -> float:
        """Samples in an hour, at least one."""
        return max(HOUR / self.step, 1.0)

    @classmethod
    def at(cls, time: float, step: float, zone: tzinfo) -> "SeasonalTime":
        """Return the tick of the sample at `time` in the time zone `zone`."""
        local = datetime.fromtimestamp(time, zone)
        hours = local.hour + local.minute / 60 + local.second / 3600
        return cls(time, step, local.hour, _slots(hours, 24), _slots(24 * local.weekday() + hours, 168))


def _slots(hours: float, count: int) -> SlotWeights:
    whole, share = divmod(hours - 0.5, 1.0)
    return SlotWeights(int(whole) % count, (int(whole) + 1) % count, share)


Singles = NDArray[np.float32]


def time_zone(name: str) -> tzinfo:
    """Return the time zone of an IANA name. Raises ValueError with the nearest known name."""
    if name == "UTC":
        return UTC  # which needs no time zone database
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        near = get_close_matches(name, available_timezones(), n=1)
        hint = f", did you mean {near[0]!r}?" if near else "; names are those of the IANA database, as Europe/Berlin"
        raise ValueError(f"unknown time zone {name!r}{hint}") from None


def average(mean: Singles, count: Singles, which: Flags, value: Floats, slowest: float) -> None:
    """Take `value` into the running `mean` of `count` samples where `which`, in place; the gain ends at `slowest`."""
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
    """Take `value` into the mean of one hour, in place, where `learns`; wherever `there` while the hour is new.

    It is new for `first` visits of `visit` samples each, and then the mean of the last `most` visits. The first visit
    brings what it brings; after it no value is learnt as if it were farther away than `limit`.
    """
    miss = np.where(visits > 0, value - profile, 0.0)
    miss = np.where(visits < visit, miss, np.clip(miss, -limit, limit))
    start = np.where(visits > 0, profile, value)
    which = learns | (there & (visits < first * visit))
    visits += which
    gain = np.maximum(1.0 / np.maximum(visits, 1.0), 1.0 / (most * visit))
    profile[...] = np.where(which, start + gain * miss, profile)
