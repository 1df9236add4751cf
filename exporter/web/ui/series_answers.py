"""The answer about one series over a range of time; times of curves are Unix seconds."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from exporter.query_units import Unit
from exporter.web.ui.answers import Channel, JobName, Labels, Link, OpenIncident, PastIncident
from exporter.web.ui.joint_answers import JointIncident
from exporter.web.ui.sent_answers import Message, RoutedAlert


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
