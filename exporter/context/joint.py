"""A joint incident: incidents of several series, also of several jobs, that are one."""

from typing import Literal

import msgspec

from detectors.types import Key

Because = Literal["alone", "labels", "history", "time"]
"""Why its incidents are one: they share a label, open together usually, or in a crowd that is no chance."""


class Member(msgspec.Struct, eq=False):
    """One incident of one series. Times are Unix seconds."""

    job: str
    labels: dict[str, str]
    since: float
    moved: float
    """First sample out of its band."""
    over: float | None = None
    alert: bool = False
    """Whether it is or was an alert."""
    elsewhere: bool = False
    """Whether another replica judges it (`--shard`)."""
    replica: str = ""
    """Which one, as Prometheus knows it; "" where that is not known."""

    @property
    def key(self) -> Key:
        """The identity of the series."""
        return tuple(sorted(self.labels.items()))


class Joint(msgspec.Struct, eq=False):
    """Incidents that are one; `members` in the order in which they joined."""

    id: str
    members: list[Member]
    because: Because = "alone"
    shared: dict[str, str] = {}
    """The label that told it, where one did."""
    over: float | None = None
    """When the last of them ended; None while one is open."""

    @property
    def first(self) -> Member:
        """The one that moved first."""
        return min(self.members, key=lambda each: each.moved)

    @property
    def by_movement(self) -> list[Member]:
        """Its members, who moved first comes first."""
        return sorted(self.members, key=lambda each: each.moved)

    @property
    def is_joint(self) -> bool:
        """Whether there is more than one incident."""
        return len(self.members) > 1

    @property
    def open_count(self) -> int:
        """How many of them are open."""
        return sum(each.over is None for each in self.members)
