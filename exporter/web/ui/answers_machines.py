"""The answers of the endpoints for machines, for the OpenAPI document; they are there with and without the pages."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from exporter.web.ui.answers import JobName, Labels


class JudgedJob(Struct):
    """How a job stands."""

    judged: str | None
    entities: int
    flagged: Annotated[int, Meta(description="open incidents")]
    alerting: Annotated[int, Meta(description="alerts among them")]
    states: Annotated[dict[str, int], Meta(description="number of series by state")]


class JudgedChannel(Struct):
    """What one channel of a series shows in the newest sample."""

    channel: str
    expr: Annotated[str | None, Meta(description="PromQL")]
    observed: float | None
    expected: float | None
    lower: float | None
    upper: float | None
    contribution: Annotated[float | None, Meta(description="share of the deviation, 0 to 1")]


class JudgedSeries(Struct):
    """The newest verdict on one series."""

    query: JobName
    detector: str
    labels: Labels
    state: Literal["ready", "warming", "stale", "error"]
    score: Annotated[float | None, Meta(description="above 1 is anomalous")]
    flag: Annotated[bool, Meta(description="whether an incident is open")]
    alert: Annotated[bool, Meta(description="whether it is an alert")]
    severity: float | None
    flapping: bool
    since: str | None
    judged: str | None
    channels: list[JudgedChannel]


class Anomalies(Struct):
    """The newest verdicts, the worst first."""

    generation: Annotated[int, Meta(description="increases with every change; pages of one are consistent")]
    total: Annotated[int, Meta(description="how many match")]
    offset: int
    next: Annotated[int | None, Meta(description="offset of the next page; null after the last one")]
    jobs: Annotated[dict[str, JudgedJob | None], Meta(description="null: no verdict")]
    anomalies: list[JudgedSeries]


class KeyDigests(Struct):
    """Digests of some keys of a job."""

    digest: str
    keys: Annotated[dict[str, str], Meta(description="digest by key")]


class JobDigests(Struct):
    """Digests of a job: of the keys that shape what it learns, and of those that shape what it decides."""

    learning: KeyDigests
    deciding: KeyDigests


class Configuration(Struct):
    """Which configuration is in force, without any of its values."""

    digest: str
    jobs: dict[str, JobDigests]
