"""What notifications are about: incidents, as they were when they were first seen."""

from dataclasses import dataclass
from typing import Literal

import msgspec

from detectors.types import Key
from exporter.json_values import finite
from exporter.pipeline.verdict import Verdict

Ending = Literal["recovered", "adopted", "no data", "removed"]


class Channel(msgspec.Struct, frozen=True):
    """What one channel showed when the incident was first seen; None where there is no such number."""

    name: str
    observed: float | None
    expected: float | None
    lower: float | None
    upper: float | None
    contribution: float | None


class Incident(msgspec.Struct):
    """One incident of one entity, from its opening until a notification of its end was sent. Times are Unix seconds."""

    job: str
    labels: dict[str, str]
    since: float
    score: float | None
    severity: float | None
    channels: list[Channel]
    """The one that contributes most comes first."""
    notified: bool = msgspec.field(default=False, name="told")
    """Whether a notification of its opening was sent; files and messages keep the name from before."""
    over: float | None = None
    ending: Ending = "recovered"

    @property
    def key(self) -> Key:
        """The identity of the entity."""
        return tuple(sorted(self.labels.items()))


@dataclass(frozen=True, slots=True)
class PendingNotifications:
    """What a receiver has yet to be sent: incidents by job, and how many ended before they could be notified."""

    opened: dict[str, list[Incident]]
    over: dict[str, list[Incident]]
    passed: dict[str, int]
    open_now: dict[str, int]
    """Open incidents by job, notified or not."""
    entities: dict[str, int]
    """Entities by job."""


def incident_of(verdict: Verdict, row: int) -> Incident:
    """Return the incident of one entity of a verdict."""
    figures = (verdict.values, verdict.expected, verdict.lower, verdict.upper, verdict.contribution)
    channels = [Channel(name, *(finite(each[row, at]) for each in figures)) for at, name in enumerate(verdict.channels)]
    channels.sort(key=lambda channel: -(channel.contribution or 0.0))
    return Incident(
        verdict.job,
        dict(verdict.keys[row]),
        float(verdict.since[row]),
        finite(verdict.score[row]),
        finite(verdict.severity[row]),
        channels,
    )
