"""Where a sample lies in the day and in the week."""

from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import NamedTuple


class Slots(NamedTuple):
    """The two hours whose centres enclose a time, and how near it is to the second (0 to 1)."""

    before: int
    after: int
    share: float


@dataclass(frozen=True, slots=True)
class Tick:
    """One sample's time: Unix seconds, step in seconds, hour of day, place in the profiles of day and week."""

    time: float
    step: float
    hour: int
    day: Slots
    week: Slots

    @property
    def per_hour(self) -> float:
        """Samples in an hour, at least one."""
        return max(3600.0 / self.step, 1.0)

    @classmethod
    def at(cls, time: float, step: float, zone: tzinfo) -> "Tick":
        """Return the tick of the sample at `time` in the time zone `zone`."""
        local = datetime.fromtimestamp(time, zone)
        hours = local.hour + local.minute / 60 + local.second / 3600
        return cls(time, step, local.hour, _slots(hours, 24), _slots(24 * local.weekday() + hours, 168))


def _slots(hours: float, count: int) -> Slots:
    whole, share = divmod(hours - 0.5, 1.0)
    return Slots(int(whole) % count, (int(whole) + 1) % count, share)
