"""The milestones of the demo, and which of them were seen."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from deploy.demo.shop import BROKEN
from deploy.demo.stack import JOB

FIELDS: Final = ("score", "flag", "alert", "value", "expected")
OURS: Final = ("__name__", "query", "detector", "instance", "job")

Sample = tuple[str, Mapping[str, str], float]
"""Metric name, labels and value."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Published values of one series; NaN if missing."""

    job: str
    entity: str
    score: float = float("nan")
    flag: float = float("nan")
    alert: float = float("nan")
    value: float = float("nan")
    expected: float = float("nan")

    @property
    def broken(self) -> bool:
        """Whether this is the series with the fault."""
        return self.job == JOB and self.entity == BROKEN


def readings(samples: Iterable[Sample]) -> list[Reading]:
    """Group `anomaly_score`, `anomaly_flag`, … by series, sorted by job and entity."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for name, labels, value in samples:
        kind = name.removeprefix("anomaly_")
        if kind in FIELDS and "query" in labels:
            entity = " ".join(content for label, content in sorted(labels.items()) if label not in OURS)
            found.setdefault((labels["query"], entity), {})[kind] = value
    return [Reading(job, entity, **values) for (job, entity), values in sorted(found.items(), reverse=True)]


class Story:
    """Records which milestones were seen after the fault.

    Parameters
    ----------
    milestones : tuple of str
        Milestones in order.
    say : callable taking text and style
        Called with each milestone when it is first seen.
    """

    def __init__(self, milestones: tuple[str, ...], say: Callable[[str, str], None]) -> None:
        self._milestones, self._say = milestones, say
        self.seen: dict[str, float] = {}
        """Seconds after the fault by milestone."""

    @property
    def complete(self) -> bool:
        """Whether everything was seen."""
        return not self.missing

    @property
    def missing(self) -> list[str]:
        """Milestones not seen."""
        return [milestone for milestone in self._milestones if milestone not in self.seen]

    def note(self, milestone: str, happened: bool, after: float, detail: str) -> bool:
        """Record `milestone` if it `happened`, `after` seconds after the fault; return True if it is new."""
        if not happened or milestone in self.seen:
            return False
        self.seen[milestone] = after
        self._say(f"{milestone}, {after:.0f}s after the fault: {detail}", "red" if self.missing else "bold red")
        return True
