"""The answers of the JSON API. The OpenAPI document is made of these types, and the pages are drawn from them.

Times are text, such as 2026-01-05T10:06:00.000Z, but for those of curves: Unix seconds. None means "not known".
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from exporter.query_units import Unit
from exporter.sinks.feedback import Kind
from exporter.sinks.incident_log import End
from exporter.web.ui.joint_answers import Because, JointIncident

Labels = Annotated[dict[str, str], Meta(description="labels of the series at the source")]
JobName = Annotated[str, Meta(description="name of the job")]
Link = Annotated[str, Meta(description="address of its page, relative to /")]


class Channel(Struct):
    """What one channel of a series shows now."""

    channel: str
    unit: Annotated[Unit, Meta(description="guessed from the query; empty where it is not known")]
    observed: float | None
    expected: float | None
    lower: float | None
    upper: float | None
    contribution: Annotated[float | None, Meta(description="share of the deviation, 0 to 1")]


class Stream(Struct):
    """One stream of evidence of a score."""

    name: Annotated[str, Meta(description="value now, 10-minute mean, volatility, …; see the glossary")]
    channel: Annotated[str, Meta(description="the channel that it is about; empty for all, and where there is one")]
    size: Annotated[float | None, Meta(description="standard deviations of its noise from usual; negative below")]
    every: Annotated[
        float | None, Meta(description="seconds between two so large by chance; null: never, or the detector has none")
    ]
    text: Annotated[str, Meta(description="the same in a sentence")]


class OpenIncident(Struct):
    """An incident that is open."""

    id: Annotated[str, Meta(description="of the series: the same for ever")]
    job: JobName
    labels: Labels
    since: str | None
    seconds: Annotated[float, Meta(description="how long it has been open")]
    alert: bool
    flapping: bool
    score: float | None
    severity: float | None
    needed: Annotated[float | None, Meta(description="severity from which it is an alert; null: none, or not known")]
    why: Annotated[str, Meta(description="its worst reading and the strongest stream of evidence, in a sentence")]
    streams: Annotated[list[Stream], Meta(description="evidence at its worst reading, the strongest stream first")]
    instead: Annotated[str, Meta(description="what would have been normal then; empty where the value was in its band")]
    now: Annotated[str, Meta(description="its newest reading, in a sentence")]
    deploy: Annotated[str, Meta(description="how long after what deploy of its owner it began; empty: after none")]
    channels: list[Channel]
    link: Link


class Group(Struct):
    """Incidents that are one: who moved first comes first."""

    id: Annotated[str, Meta(description="of the joint incident; empty where none is known")]
    since: str | None
    alert: bool
    jobs: list[str]
    labels: Annotated[dict[str, str], Meta(description="what all of them have in common")]
    because: Because
    joint: Annotated[JointIncident | None, Meta(description="all of it, where it is more than one series")]
    incidents: Annotated[list[OpenIncident], Meta(description="those of them that are among the worst")]


class Unseen(Struct):
    """Something that is not judged now: nothing is known of it, so that it is not known to be healthy."""

    kind: Literal[
        "failing",
        "warming",
        "waiting",
        "late",
        "empty",
        "series_warming",
        "series_stale",
        "series_vanished",
        "series_learning",
        "series_without_peers",
        "configuration",
        "declared",
        "answers",
        "muted",
    ]
    jobs: list[str]
    text: str
    since: str | None = None
    progress: Annotated[float | None, Meta(description="of a warm-up, 0 to 1")] = None


class Quiet(Struct):
    """What is known while nothing is wrong."""

    jobs: int
    series: Annotated[int, Meta(description="series of all jobs")]
    watched: Annotated[int, Meta(description="series that have a verdict now")]
    since: Annotated[str | None, Meta(description="when an incident was last open; null: none since counted_since")]
    counted_since: Annotated[str | None, Meta(description="when the exporter began to count")]
    alerts: Annotated[int, Meta(description="incidents that became alerts in the last seven days")]
    budget: Annotated[float, Meta(description="alerts a week that the jobs allow, together")]


class PastIncident(Struct):
    """An incident that is over, or that was remembered as open."""

    id: Annotated[str, Meta(description="of the series: the same for ever")]
    job: JobName
    labels: Labels
    since: str | None
    until: Annotated[str | None, Meta(description="null while it is open")]
    seconds: Annotated[float, Meta(description="how long it lasted, or has lasted")]
    alerted: Annotated[bool | None, Meta(description="whether it was an alert; null: not known, from the audit file")]
    ending: Annotated[
        End,
        Meta(description="how it ended; empty while it is open, unknown where nobody saw it"),
    ]
    score: Annotated[float | None, Meta(description="of its worst reading")]
    severity: float | None
    why: Annotated[str, Meta(description="its worst reading and the strongest stream of evidence, in a sentence")]
    streams: Annotated[list[Stream], Meta(description="evidence at its worst reading, the strongest stream first")]
    instead: Annotated[str, Meta(description="what would have been normal then; empty where the value was in its band")]
    deploy: Annotated[str, Meta(description="how long after what deploy of its owner it began; empty: after none")]
    link: Link
    answered: Annotated[
        list[Kind], Meta(description="how people answered it, on the list of past incidents; empty where nobody did")
    ] = []


class LimitNear(Struct):
    """A series that may reach its limit soon, or has reached it."""

    id: Annotated[str, Meta(description="of the series: the same for ever")]
    job: JobName
    labels: Labels
    early: Annotated[str | None, Meta(description="with a chance of 5 % it is there before")]
    expected: Annotated[str | None, Meta(description="as likely before as after; in the past: it has been there since")]
    late: Annotated[str | None, Meta(description="with a chance of 5 % it is there after, or never; null: never")]
    text: Annotated[str, Meta(description="the same in a sentence")]
    link: Link


class Now(Struct):
    """What is wrong now, what cannot be seen, and what is watched."""

    at: str | None
    open: Annotated[int, Meta(description="open incidents")]
    alerting: Annotated[int, Meta(description="alerts among them")]
    shown: Annotated[int, Meta(description="incidents in groups: the worst")]
    expected: Annotated[
        int, Meta(description="open incidents that are left out: people answered that they are expected")
    ]
    groups: list[Group]
    last_seen: Annotated[
        list[PastIncident], Meta(description="open when their job was last judged, which has no verdict now")
    ]
    unseen: list[Unseen]
    quiet: Quiet
    near: Annotated[int, Meta(description="series that may reach their limit within the horizon of their job")] = 0
    limits: Annotated[list[LimitNear], Meta(description="the first of them, the soonest first")] = []


class PastIncidents(Struct):
    """Incidents that are over, those that ended last come first."""

    at: str | None
    total: Annotated[int, Meta(description="how many match")]
    offset: int
    next: Annotated[int | None, Meta(description="offset of the next page; null after the last one")]
    known: Annotated[int, Meta(description="how many are remembered, of all jobs")]
    since: Annotated[str | None, Meta(description="end of the oldest that is remembered")]
    note: Annotated[str, Meta(description="what is not remembered")]
    incidents: list[PastIncident]


class Refusal(Struct):
    """A request that cannot be answered."""

    error: str
