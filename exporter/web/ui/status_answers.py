"""The answers about the exporter itself and how its jobs stand."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from exporter.query_units import Unit
from exporter.web.ui.answers import JobName


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
