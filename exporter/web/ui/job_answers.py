"""The answers about one job. Times are text, but for those of spans: Unix seconds. None means "not known"."""

from typing import Annotated

from msgspec import Meta, Struct

from exporter.web.ui.answers import Labels, Link
from exporter.web.ui.status_answers import Job

Span = Annotated[list[float], Meta(description="begin and end, Unix seconds")]


class HeatRow(Struct):
    """One series over time."""

    labels: Labels
    incidents: int
    alerts: int
    severity: Annotated[float | None, Meta(description="the highest of its incidents, as far as it is remembered")]
    open: Annotated[list[Span], Meta(description="when an incident was open")]
    alert: Annotated[list[Span], Meta(description="when it was an alert")]
    link: Link


class StoredModel(Struct):
    """A version of the job's model in the store."""

    version: str
    active: bool
    trained_at: str
    gate: Annotated[str, Meta(description="what the gate decided on it")]
    rejected: Annotated[bool, Meta(description="the gate decided against it")]
    refused: Annotated[str, Meta(description="why it cannot be used")]
    differences: Annotated[
        dict[str, list[str]], Meta(description="in what it differs from the active one: its value, the active one's")
    ]


class JobPage(Struct):
    """One job: its series over time, its models, and what it costs."""

    at: str | None
    job: Job
    start: str | None
    end: str | None
    rows: Annotated[list[HeatRow], Meta(description="series that had an incident, the worst first")]
    series: Annotated[int | None, Meta(description="series of the job now")]
    found: Annotated[int, Meta(description="series that had an incident in the range")]
    notes: Annotated[list[str], Meta(description="what is missing, and why")]
    models: list[StoredModel]
    quality: Annotated[
        dict[str, float | None], Meta(description="figures of the last backtest --publish, empty without one")
    ]
    quality_at: str | None
    samples: Annotated[float, Meta(description="samples read from the source since the start")]
    stages: Annotated[dict[str, float], Meta(description="seconds spent in the stages of its cycles since the start")]
