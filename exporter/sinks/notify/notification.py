"""What notifications are about: incidents, each with its worst reading."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
import numpy as np

from detectors.types import Floats, Key, Streams
from exporter import incident_wording as wording
from exporter.context.deploys import names
from exporter.forecast_wording import soon
from exporter.json_values import finite
from exporter.pipeline import worst_readings
from exporter.pipeline.evidence import Stream, is_by_hour, told
from exporter.pipeline.reaches import Reaches
from exporter.pipeline.verdict import Verdict
from exporter.pipeline.worst_readings import Readings
from exporter.query_units import Unit
from exporter.sinks.notify.limits import NearLimit

Ending = worst_readings.Ending | Literal["removed"]
LISTED: Final = 5
"""Incidents of one job that a message tells one by one; more of them are one line, and the worst."""


class Channel(msgspec.Struct, frozen=True):
    """What one channel showed at the worst reading; None where there is no such number."""

    name: str
    observed: float | None
    expected: float | None
    lower: float | None
    upper: float | None
    contribution: float | None
    unit: Unit = ""


class Together(msgspec.Struct, frozen=True):
    """What is told of a joint incident: how many series of how many jobs, who moved first and when, which labels."""

    count: int
    jobs: int
    first: str
    at: float | None
    shared: dict[str, str]


class Incident(msgspec.Struct):
    """One incident of one entity, from its opening until a notification of its end was sent. Times are Unix seconds."""

    job: str
    labels: dict[str, str]
    since: float
    score: float | None
    """Of the worst reading; None where none above 1 is known."""
    severity: float | None
    channels: list[Channel]
    """Those that were not normal; the one that contributes most comes first."""
    notified: bool = msgspec.field(default=False, name="told")
    """Whether a notification of its opening was sent; files and messages keep the name from before."""
    over: float | None = None
    ending: Ending = "recovered"
    at: float | None = None
    """When the worst reading was."""
    of_channels: int = 1
    """How many channels the job has."""
    streams: list[Stream] = []
    """What the score of the worst reading is made of, the strongest first."""
    by_hour: bool = False
    """Whether what was expected then is what is expected at that hour of the day or week."""
    deploy: str = ""
    """What was deployed before it began; "" where nothing of its owner was."""
    after_deploy: float | None = None
    """Seconds from that to its beginning."""
    joint: str = ""
    """Id of the joint incident that it belongs to, alone or with others; "" where none is known."""
    together: Together | None = None
    """What is told of that."""
    limit: str = ""
    """When its series reaches its limit, in a sentence; "" where it has none, or it is not near."""
    companions: str | None = None
    """Which other series moved when it began, in a sentence; "" where none surely did, None before it was asked."""

    @property
    def deployed(self) -> str:
        """How long after what deploy it began, "" where there was none."""
        return wording.after_deploy(self.after_deploy, self.deploy) if self.after_deploy is not None else ""

    @property
    def key(self) -> Key:
        """The identity of the entity."""
        return tuple(sorted(self.labels.items()))

    def take(self, verdict: Verdict, row: int, units: Mapping[str, Unit]) -> None:
        """Take over the worst reading from a verdict, unless that of an earlier incident of the entity is worse."""
        if named := verdict.deploys.get(row):
            self.deploy, self.after_deploy = names(named), self.since - named[0].at
        self.limit = "" if verdict.reaches is None else _limit(verdict, verdict.reaches, row, units)
        readings = verdict.readings
        position = readings.of(row)
        if position is None:
            if self.at is None and verdict.score[row] > 1:
                self.at, self.score = verdict.time, float(verdict.score[row])
                self.channels = _channels(verdict.channels, row, verdict, verdict.values, units)
                self._because(verdict.streams, verdict, row, units)
            return
        score, earlier = finite(readings.score[position]), readings.start[position] != self.since
        if score is None or (earlier and self.score is not None and self.score >= score):
            return
        if readings.at[position] != self.at:
            self.at, self.score = float(readings.at[position]), score
            self.channels = _channels(verdict.channels, position, readings, readings.value, units)
            self._because(readings.streams, verdict, row, units)

    def _because(self, streams: Streams | None, verdict: Verdict, row: int, units: Mapping[str, Unit]) -> None:
        self.streams = told(streams, row, verdict.channels, verdict.keys[row], units)
        self.by_hour = is_by_hour(streams, row)

    def end(self, now: float, ending: Ending) -> None:
        """Note that the incident is over since `now`; only the first end counts."""
        if self.over is None:
            self.over, self.ending = now, ending


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
    limits: Sequence[NearLimit] = ()
    """Series near their limit, and such as are far from it again."""

    @property
    def size(self) -> int:
        """How many incidents and limits it is about."""
        told = (len(each) for by_job in (self.opened, self.over) for each in by_job.values())
        return sum(told) + sum(self.passed.values()) + len(self.limits)

    def named(self) -> list[Incident]:
        """Return the incidents that a message tells one by one, those that opened come first."""
        few = (each for by_job in (self.opened, self.over) for each in by_job.values() if len(each) <= LISTED)
        return [incident for incidents in few for incident in incidents]


def _channels(
    names: Sequence[str], row: int, of: Verdict | Readings, values: Floats, units: Mapping[str, Unit]
) -> list[Channel]:
    """Return what is known of each channel in a row, without those of which nothing is."""
    channels = [
        Channel(
            name,
            finite(values[row, at]),
            finite(of.expected[row, at]),
            finite(of.lower[row, at]),
            finite(of.upper[row, at]),
            finite(of.contribution[row, at]),
            units.get(name, ""),
        )
        for at, name in enumerate(names)
    ]
    channels = [each for each in channels if each.observed is not None or each.expected is not None]
    return sorted(channels, key=lambda channel: -(channel.contribution or 0.0))


def _limit(verdict: Verdict, reaches: Reaches, row: int, units: Mapping[str, Unit]) -> str:
    """Write that a series is near its limit, "" where it is not."""
    early, expected = float(reaches.early[row]), float(reaches.expected[row])
    if not (early <= verdict.time + reaches.within and expected < np.inf):
        return ""
    return soon(reaches.limit, early, expected, verdict.time, units.get(verdict.channels[reaches.channel], ""))


def incident_of(verdict: Verdict, row: int, units: Mapping[str, Unit]) -> Incident:
    """Return the incident of one entity of a verdict; `units` are those of the channels."""
    since, severity = float(verdict.since[row]), finite(verdict.severity[row])
    incident = Incident(
        verdict.job, dict(verdict.keys[row]), since, None, severity, [], of_channels=len(verdict.channels)
    )
    incident.take(verdict, row, units)
    return incident


def ending_of(verdict: Verdict, row: int) -> tuple[float, Ending]:
    """Return when the incident of an entity ended that is not flagged any more, and how."""
    readings = verdict.readings
    position = readings.of(row)
    if position is not None and np.isfinite(readings.end[position]):
        return float(readings.end[position]), worst_readings.ENDINGS[int(readings.ending[position])]
    return verdict.time, "adopted" if verdict.score[row] > 1 else "recovered"
