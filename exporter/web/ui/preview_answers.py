"""The answers of the workbench's API: what jobs would have found, and how far a replay is.

Times are text, such as 2026-01-05T10:06:00.000Z, but for those of curves and spans: Unix seconds. None: not known.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from exporter.query_units import Unit
from exporter.web.ui.answers import JobName, Labels, Stream

Direction = Literal["above", "below", "both"]
State = Literal["reading", "first look", "exact", "failed"]
Span = Annotated[list[float], Meta(description="begin and end, Unix seconds")]


class PreviewIncident(Struct):
    """An incident that would have been."""

    job: JobName
    labels: Labels
    start: str | None
    end: Annotated[str | None, Meta(description="null while it is open at the end of the range")]
    seconds: float
    severity: float
    alert: bool
    alert_since: str | None
    why: Annotated[str, Meta(description="why it would have been no alert, or how long it took to become one")]
    worst: Annotated[str | None, Meta(description="time of its worst reading")] = None
    streams: Annotated[list[Stream], Meta(description="evidence at its worst reading, the strongest stream first")] = []


class PreviewSeries(Struct):
    """A series of a preview."""

    row: Annotated[int, Meta(description="number to ask for its curve with")]
    labels: Labels
    incidents: int
    alerts: int
    severity: Annotated[float, Meta(description="the highest of its incidents, 0 without one")]
    open: Annotated[list[Span], Meta(description="when an incident was open")]
    alert: Annotated[list[Span], Meta(description="when it was an alert")]


class PreviewCurve(Struct):
    """One channel of a series over the range: the most unusual sample of each of its parts; all lists are as long."""

    row: int
    channel: str
    unit: Unit
    times: Annotated[list[float], Meta(description="Unix seconds")]
    value: list[float | None]
    expected: list[float | None]
    lower: list[float | None]
    upper: list[float | None]


class Decided(Struct):
    """What a job would have found by some settings."""

    direction: Direction
    least_deviation: float
    budget: Annotated[float, Meta(description="alerts a week")]
    exact: Annotated[bool, Meta(description="equal to the verdicts of a running job and of backtest, to the bit")]
    notes: Annotated[list[str], Meta(description="why it is not exact, and what to do")]
    alerts: int
    allowed: Annotated[float, Meta(description="alerts that the budget allows in the range")]
    found: Annotated[int, Meta(description="incidents in all")]
    incidents: Annotated[list[PreviewIncident], Meta(description="all alerts and the most severe others, by time")]
    series: Annotated[list[PreviewSeries], Meta(description="the worst first")]
    curves: Annotated[list[PreviewCurve], Meta(description="of the series that were asked for, or of the worst")]
    milliseconds: Annotated[float, Meta(description="how long deciding took")]


class PastJob(Struct):
    """What one of several jobs would have found."""

    job: JobName
    entities: int
    judged: Annotated[float, Meta(description="share of the samples that got a score")]
    incidents: int | None
    alerts: int | None
    budget: Annotated[float | None, Meta(description="alerts that it allows in the range")]
    error: str


class Past(Struct):
    """What several jobs would have found."""

    jobs: list[PastJob]
    found: int
    incidents: list[PreviewIncident]


class Preview(Struct):
    """A replay, and what was found in it as far as it is."""

    id: str
    state: Annotated[
        State,
        Meta(description="first look: judged at a coarser step, while the replay at the job's own step goes on"),
    ]
    progress: Annotated[float, Meta(description="share of the exact replay that is done, 0 to 1")]
    text: Annotated[str, Meta(description="what is being done; where it failed, what happened and what to do")]
    start: str | None
    end: str | None
    step: Annotated[float, Meta(description="seconds between the samples of what is shown")]
    exact_step: Annotated[float, Meta(description="seconds between the samples of the job")]
    learnt: Annotated[float, Meta(description="seconds before the range that were learnt first")]
    series_count: int
    samples: Annotated[int, Meta(description="samples read from the source")]
    decided: Decided | None
    past: Past | None
    yaml: Annotated[str, Meta(description="the job for a configuration file")]
    checked: Annotated[str, Meta(description="what check-config says to it")]


class PreviewStarted(Struct):
    """A replay that was begun; it ends by itself when nobody asks for it."""

    id: str


class MetricName(Struct):
    """A metric of the source."""

    name: str
    type: str
    help: str


class MetricNames(Struct):
    """Metrics whose names match."""

    total: Annotated[int, Meta(description="how many match")]
    metrics: list[MetricName]
