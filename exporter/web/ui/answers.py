"""The answers of the JSON API. The OpenAPI document is made of these types, and the pages are drawn from them.

Times are text, such as 2026-01-05T10:06:00.000Z, but for those of curves: Unix seconds. None means "not known".
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from exporter.query_units import Unit
from exporter.sinks.feedback import Kind
from exporter.sinks.incident_log import End
from exporter.web.ui.joint_answers import Because, JointIncident
from exporter.web.ui.sent_answers import Message, RoutedAlert

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


class Query(Struct):
    """A channel of a job."""

    channel: str
    expr: str
    unit: Unit


class Trouble(Struct):
    """Why the last cycles of a job failed."""

    reason: str
    text: str
    since: str | None


class Job(Struct):
    """How a job stands."""

    job: JobName
    detector: str
    state: Literal["judging", "failing", "warming", "waiting", "late", "empty"]
    text: Annotated[str, Meta(description="the state in a sentence")]
    judged: Annotated[str | None, Meta(description="time of the newest judged sample; null: no verdict is shown")]
    series: Annotated[dict[str, int], Meta(description="number of series by state")]
    vanished: Annotated[dict[str, int], Meta(description="number of series that have ended, by reason")]
    missed: Annotated[list[str], Meta(description="series that are down or have stopped, the first few")]
    open: int
    alerting: int
    alerts: Annotated[int, Meta(description="incidents that became alerts in the last seven days")]
    counted_since: str | None
    budget: Annotated[float, Meta(description="alerts a week that it allows")]
    step: Annotated[float, Meta(description="seconds between two samples")]
    progress: Annotated[float, Meta(description="share of its history that was replayed, 0 to 1")]
    remaining: Annotated[float | None, Meta(description="seconds that a warm-up will still take; null: not known")]
    cycles: int
    failures: int
    last_success: str | None
    cycle_seconds: float | None
    stages: Annotated[dict[str, float], Meta(description="seconds that each stage of a cycle took last")]
    trouble: Trouble | None
    queries: list[Query]
    model_version: str
    calendar: Annotated[list[str], Meta(description="what its calendars say about now")] = []
    muted: Annotated[bool, Meta(description="an incident that begins now is no alert, by a calendar")] = False
    without_peers: Annotated[str, Meta(description="which series have too few peers; empty: none")] = ""


class Jobs(Struct):
    """All jobs, in the order of the configuration."""

    at: str | None
    jobs: list[Job]


class Curve(Struct):
    """One channel over time; all lists have the same length."""

    channel: str
    unit: Unit
    value: list[float | None]
    expected: list[float | None]
    lower: list[float | None]
    upper: list[float | None]
    before: Annotated[list[float | None], Meta(description="values a day or a week earlier, if compare asks for them")]
    week_before: Annotated[list[float | None], Meta(description="values a week earlier, if compare asks for both")]


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


class Choice(Struct):
    """One of several series that match."""

    labels: Labels
    link: Link


class DeployMark(Struct):
    """A deploy of the owner of a series."""

    at: Annotated[float, Meta(description="Unix seconds")]
    name: str


class Forecast(Struct):
    """How a series goes on towards its limit, by the hour, with an interval of 90 %."""

    channel: str
    unit: Unit
    limit: float
    past_times: Annotated[list[float], Meta(description="ends of hours, Unix seconds")]
    past: Annotated[list[float | None], Meta(description="value nearest to the limit in each of these hours")]
    times: Annotated[list[float], Meta(description="Unix seconds, from the newest sample on")]
    early: Annotated[list[float | None], Meta(description="nearest to the limit until then, with a chance of 5 %")]
    expected: Annotated[list[float | None], Meta(description="the same, as likely as not")]
    late: Annotated[list[float | None], Meta(description="the same, with a chance of 95 %")]


class Series(Struct):
    """One series over a range of time."""

    id: str
    job: JobName
    labels: Labels
    state: Annotated[
        Literal["ready", "warming", "stale", "gone", "unknown"],
        Meta(description="gone: the job does not have the series now; unknown: the job has no verdict"),
    ]
    judged: str | None
    score: float | None
    incident: Annotated[OpenIncident | None, Meta(description="the one that is open")]
    past: Annotated[PastIncident | None, Meta(description="the one of since, unless it is open")]
    joint: Annotated[JointIncident | None, Meta(description="what its incident is one of, where it is not alone")]
    others: Annotated[list[PastIncident], Meta(description="incidents of other series that began at the same time")]
    earlier: Annotated[list[PastIncident], Meta(description="the last incidents of this series, but for that of since")]
    worst_at: Annotated[str | None, Meta(description="time of the worst reading of the incident that is shown")]
    worst: Annotated[list[Channel], Meta(description="that reading, of the channels that were not normal")]
    sent: Annotated[list[Message], Meta(description="what the exporter itself sent on that incident, oldest first")]
    routed: Annotated[
        list[str], Meta(description="receivers of Alertmanager that get the alerts of the job, by the configuration")
    ]
    alerts: Annotated[
        list[RoutedAlert] | None,
        Meta(description="what Alertmanager has of the open incident; null where there is none or it does not tell"),
    ]
    channels: list[Channel]
    start: float
    end: float
    times: Annotated[list[float], Meta(description="Unix seconds")]
    curves: list[Curve]
    scores: list[float | None]
    flag: Annotated[list[float | None], Meta(description="1 while an incident was open, else 0")]
    alert: Annotated[list[float | None], Meta(description="1 while it was an alert, else 0")]
    notes: Annotated[list[str], Meta(description="what is missing, and why")]
    deploys: Annotated[list[DeployMark], Meta(description="deploys of its owner in the range, oldest first")]
    link: Link
    told: Annotated[list[str], Meta(description="every sample in a sentence, if told asks for them")] = []
    limit: Annotated[str, Meta(description="when it reaches its limit, in a sentence; empty where it has none")] = ""
    forecast: Annotated[Forecast | None, Meta(description="how it goes on; null without a limit")] = None
    findings: Annotated[
        str, Meta(description="what is known of the incident beside its readings, the most useful first; may be empty")
    ] = ""


class Ambiguous(Struct):
    """More than one series matches."""

    error: str
    choices: list[Choice]


class DeployQuestions(Struct):
    """How the questions about deploys stand."""

    found: Annotated[list[str] | None, Meta(description="presets whose metrics the source has; null: not asked yet")]
    trouble: Annotated[list[str], Meta(description="why questions were not answered the last time")]
    queries: Annotated[int, Meta(description="queries since the start")]
    failures: int
    seconds: Annotated[float, Meta(description="spent on these queries since the start")]
    cut: Annotated[int, Meta(description="series left out of the newest answers")]


class Status(Struct):
    """The exporter itself."""

    at: str | None
    started: str | None
    loaded: Annotated[str | None, Meta(description="when the configuration in force was loaded")]
    refused: Annotated[str, Meta(description="why the configuration on disk is not in force; empty where it is")]
    digest: str
    versions: Annotated[dict[str, str], Meta(description="version by package")]
    jobs: list[Job]
    deploys: DeployQuestions
    config: Annotated[str, Meta(description="the configuration in force as YAML, secrets masked")]


class Refusal(Struct):
    """A request that cannot be answered."""

    error: str
