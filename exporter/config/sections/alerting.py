"""What the generated alerts look like and where they go: `alert` of a job, and `alerting`."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator, Field, create_model

from detectors.seasonality import time_zone
from detectors.units import DAY
from exporter.config.errors import nearest
from exporter.config.receivers import RECEIVERS
from exporter.config.receivers.kind import Line
from exporter.config.section_base import ClassicName, Conflict, LabelName, PositiveDuration, Section, SourceUrl
from exporter.config.values import Days, Duration, Months, Times, Weekdays, Years
from exporter.label_names import Scheme
from exporter.promql import format_duration

OURS: Final = frozenset(
    {"alertgroup", "alertname", "alertstate", "severity", "query", "detector", "receivers"} | {"anomaly_incident"}
)
"""Labels of an alert that the rules, Prometheus or vmalert set themselves."""
RETENTION: Final = 5 * DAY
"""Seconds for which Alertmanager remembers what it has sent, by default."""


def _location(name: str) -> str:
    time_zone(name)
    return name


def _receiver(name: str) -> str:
    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii() or name == NOBODY:
        raise ValueError(f"is not a name of a receiver: letters, digits, _ and - only, and not {NOBODY!r}")
    return name


def _of_rules(labels: dict[str, str]) -> dict[str, str]:
    if taken := sorted(OURS & labels.keys()):
        raise ValueError(f"{', '.join(taken)}: set by the rules themselves; choose another name")
    return labels


NOBODY: Final = "nobody"
"""The receiver that drops what it gets."""
Location = Annotated[str, AfterValidator(_location)]
ReceiverName = Annotated[str, AfterValidator(_receiver)]
Labels = Annotated[dict[ClassicName, str], AfterValidator(_of_rules)]


class AlertConfig(Section):
    """The generated alerts of a job."""

    severity: Line = Field("ticket", description="severity label; page is an explicit choice")
    for_: Duration = Field(0.0, alias="for", description="how long the alert must hold before it fires")
    keep_firing_for: Duration = Field(300.0, description="how long it stays after its cause is gone")
    metric: Literal["alert", "flag"] = Field(
        "alert", description="what fires: anomaly_alert, which keeps to the budget, or every anomaly_flag"
    )
    vanished: float | None = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the job's series from which on it is an alert that series are down or have stopped; 0: "
        "one is enough; null: never",
    )
    receivers: tuple[ReceiverName, ...] = Field(
        (), description="names of alerting.receivers; default: those of the severity in alerting.routes"
    )
    labels: Labels = Field({}, description="further labels, as they are")
    annotations: dict[ClassicName, str] = Field({}, description="further annotations, as they are")


class RateLimitConfig(Section):
    """How many messages a receiver may get."""

    count: int = Field(3, ge=2, le=1000, description="most messages in one interval")
    interval: PositiveDuration = Field(600.0, description="the interval")


if TYPE_CHECKING:  # the fields come from a map, which a type checker cannot follow

    class _Ways(Section):
        """A key for every kind of receiver."""

else:
    _Ways = create_model(
        "_Ways",
        __base__=Section,
        **{name: (kind.section | None, Field(None, description=kind.description)) for name, kind in RECEIVERS.items()},
    )


class ReceiverConfig(_Ways):
    """Somebody who is notified, in one way or several."""

    group_by: tuple[LabelName, ...] | None = Field(
        None,
        description="labels that separate messages; default: a message for each joint incident, all other alerts in "
        "one message, but for PagerDuty one for each query and severity",
    )
    rate_limit: RateLimitConfig = Field(RateLimitConfig(), description="most messages, for each group of group_by")
    group_wait: Duration = Field(10.0, description="how long the first message waits for others to join it")
    group_interval: PositiveDuration | None = Field(
        None, description="least time between messages of a group; default: follows from rate_limit"
    )
    repeat_interval: PositiveDuration = Field(14_400.0, description="how often an alert that goes on is sent again")
    resolved: bool = Field(True, description="notify the end of an alert too")
    mute: tuple[str, ...] = Field((), description="names of alerting.time_intervals in which nothing is sent")

    @property
    def ways(self) -> dict[str, Section]:
        """The sections that are given, by kind of receiver."""
        return {name: way for name in RECEIVERS if (way := getattr(self, name)) is not None}

    @property
    def groups(self) -> tuple[str, ...]:
        """Labels that separate messages."""
        if self.group_by is not None:
            return self.group_by
        return next((RECEIVERS[name].group_by for name in self.ways if RECEIVERS[name].group_by), ())

    @property
    def least_interval(self) -> float:
        """Seconds between messages of a group that keep to `rate_limit`.

        Alertmanager forgets a group whose alerts are all over and sends the next alert at once, so at worst every
        second interval is empty. N + 1 messages must still take as long as the interval of `rate_limit`, so N // 2
        intervals must.
        """
        return max(math.ceil(self.rate_limit.interval / (self.rate_limit.count // 2)), 1.0)

    @property
    def interval(self) -> float:
        """Seconds between messages of a group."""
        return self.group_interval or self.least_interval

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys do not go together."""
        if not self.ways:
            *some, last = RECEIVERS
            yield (some[0],), f"reaches nobody: give at least one of {', '.join(some)} or {last}"
        if self.interval < self.least_interval:
            yield (
                ("group_interval", "rate_limit"),
                f"lets through more than {self.rate_limit.count} messages "
                f"in {format_duration(self.rate_limit.interval)}: "
                f"at least {format_duration(self.least_interval)}, or raise rate_limit.count",
            )
        if not self.interval <= self.repeat_interval <= RETENTION:
            yield (
                ("repeat_interval",),
                f"must be from {format_duration(self.interval)} (the group_interval) to {format_duration(RETENTION)} "
                "(as long as Alertmanager remembers)",
            )


class TimeInterval(Section):
    """Times at which a receiver gets no messages; all that is given must hold."""

    times: Times = Field((), description='times of day, such as "22:00-06:00"')
    weekdays: Weekdays = Field((), description="such as saturday or monday:friday")
    days_of_month: Days = Field((), description='such as 1, "1:7" or -1, the last')
    months: Months = Field((), description="such as december or 1:3")
    years: Years = Field((), description='such as 2030 or "2030:2031"')
    location: Location = Field("UTC", description="time zone, such as Europe/Berlin")

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys do not go together."""
        if not (self.times or self.weekdays or self.days_of_month or self.months or self.years):
            yield ("times",), "is always: give times, weekdays, days_of_month, months or years"


class LinksConfig(Section):
    """Where the links of an alert lead."""

    graph: SourceUrl | None = Field(
        None, description="Prometheus for people; default: the external URL of the Prometheus that runs the rules"
    )
    dashboard: SourceUrl | None = Field(None, description="the dashboard; var-query=JOB is added")
    runbook: SourceUrl | None = Field(None, description="the generated runbook; #alert is added")


class HealthConfig(Section):
    """The alerts on the exporter itself."""

    severity: Line = Field("ticket", description="severity label")
    receivers: tuple[ReceiverName, ...] = Field((), description="as in the alert of a job")
    scrape_job: Line = Field("anomaly-exporter", description="job under which Prometheus scrapes the exporter")
    model_max_age: PositiveDuration = Field(2_592_000.0, description="a model older than this is an alert")
    least_coverage: float = Field(
        0.8, gt=0, lt=1, description="an alert when less than this share of a week's samples lies within the bands"
    )


class AlertingConfig(Section):
    """The generated rules, and the routing in the generated alertmanager.yml."""

    receivers: dict[ReceiverName, ReceiverConfig] = Field({}, description="who can be notified, by name")
    routes: dict[Line, tuple[ReceiverName, ...]] = Field({}, description="receivers by severity")
    watchdog: ReceiverName | None = Field(
        None, description="receiver of the Watchdog, which calls when our messages stop"
    )
    time_intervals: dict[ReceiverName, TimeInterval] = Field({}, description="times without messages, by name")
    links: LinksConfig = Field(LinksConfig(), description="links in every alert")
    health: HealthConfig = Field(HealthConfig(), description="alerts on the exporter itself")
    rule_labels: dict[str, str] = Field(
        {}, description="labels of the PrometheusRule objects, by which an operator finds them"
    )

    grafana_schema: Literal["v1", "v2"] = Field(
        "v1",
        description="schema of the dashboards; v2: as objects of Grafana's API, dashboard.grafana.app/v2",
    )
    escaping: Scheme = Field(
        "allow-utf-8",
        description="how the server that scrapes us and runs the rules has names of labels such as service.name, as in "
        "its metric_name_escaping_scheme; underscores: service_name, for servers before Prometheus 3",
    )

    def receivers_of(self, alert: AlertConfig | HealthConfig) -> tuple[str, ...]:
        """Return the names of the receivers of an alert."""
        return alert.receivers or self.routes.get(alert.severity, ())

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys do not go together."""
        named = {
            "routes": [name for names in self.routes.values() for name in names],
            "health": self.health.receivers,
            "watchdog": [self.watchdog] if self.watchdog else [],
        }
        for key, names in named.items():
            for name in dict.fromkeys(names):
                if name not in self.receivers:
                    yield (key,), unknown("receiver", name, self.receivers)
        for receiver, config in self.receivers.items():
            for name in config.mute:
                if name not in self.time_intervals:
                    yield ("receivers",), f"{receiver}: mute: {unknown('time interval', name, self.time_intervals)}"
        if self.receivers and not self.receivers_of(self.health):
            yield ("health", "receivers"), _no_one(self.health.severity, "health.receivers")


def unreachable(alerts: Mapping[str, AlertConfig], alerting: AlertingConfig) -> Iterator[Conflict]:
    """Yield the jobs whose alerts name an unknown receiver or would reach nobody."""
    for job, alert in alerts.items():
        for name in alert.receivers:
            if name not in alerting.receivers:
                yield ("jobs",), f"{job}: alert: {unknown('receiver', name, alerting.receivers)}"
        if alerting.receivers and not alerting.receivers_of(alert):
            yield ("jobs",), f"{job}: alert: {_no_one(alert.severity, 'its alert.receivers')}"


def unknown(kind: str, name: str, known: Mapping[str, object]) -> str:
    """Say that a name is unknown, and what was probably meant."""
    if near := nearest(name, known):
        return f"there is no {kind} {name!r}; did you mean {near!r}?"
    return f"there is no {kind} {name!r}; there are: {', '.join(known) or 'none'}"


def _no_one(severity: str, where: str) -> str:
    return f"severity {severity!r} reaches nobody: name its receivers in alerting.routes, or in {where}"
