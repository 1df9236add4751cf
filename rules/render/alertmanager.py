"""alertmanager.yml: one route for each receiver, in which alerts of one joint incident are one message."""

from collections.abc import Sequence
from typing import Any

from exporter.config.receivers import RECEIVERS
from exporter.config.sections.alerting import NOBODY, AlertingConfig, ReceiverConfig, TimeInterval
from exporter.config.sections.root import Config
from exporter.config.values import spans
from rules.alerts.alert import Group, milliseconds
from rules.alerts.group import group_labels
from rules.alerts.job_context import AlertedJob
from rules.alerts.names import (
    COVERAGE,
    DOWN,
    DRIFT,
    FAILING,
    STALE,
    STORM,
    TARGET_DOWN,
    VANISHED,
    WATCHDOG,
    alert_names,
)
from rules.alerts.templates import INCIDENT
from rules.render.yaml_text import document

_HEARTBEAT = {"group_wait": "0s", "group_interval": "1m", "repeat_interval": "5m"}
"""How often the Watchdog's receiver gets its message while all is well."""


def files(config: Config, _: Sequence[Group]) -> dict[str, str]:
    """Return Alertmanager's configuration."""
    return {"alertmanager.yml": document(configuration(config))}


def configuration(config: Config) -> dict[str, Any]:
    """Return Alertmanager's configuration."""
    alerting = config.alerting
    made: dict[str, Any] = {
        "route": {
            # Only alerts of others get here, when they share this Alertmanager: somebody must get them too.
            "receiver": next(iter(alerting.receivers), NOBODY),
            "routes": [*_watchdog_routes(alerting), *_routes(alerting)],
        },
        "inhibit_rules": inhibitions(config),
        "receivers": [{"name": NOBODY}, *(_receiver(name, to) for name, to in alerting.receivers.items())],
    }
    if alerting.watchdog:
        made["receivers"].append(_heartbeat_receiver(alerting))
    if alerting.time_intervals:
        made["time_intervals"] = [
            {"name": name, "time_intervals": [_interval(interval)]}
            for name, interval in alerting.time_intervals.items()
        ]
    return made


def matcher(label: str, value: str) -> str:
    """Write a matcher of equality for Alertmanager."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{label}="{escaped}"'


def inhibitions(config: Config) -> list[dict[str, Any]]:
    """Return which alert mutes which: a storm its members, a dead exporter what follows from that."""
    rules: list[dict[str, Any]] = [
        {
            "source_matchers": [matcher("alertname", DOWN)],
            "target_matchers": [f'alertname=~"{"|".join((STALE, FAILING, VANISHED, COVERAGE, DRIFT))}"'],
        },
        {
            "source_matchers": [matcher("alertname", STALE)],
            "target_matchers": [f'alertname=~"{FAILING}|{VANISHED}"'],
            "equal": ["query"],
        },
        {  # which target it is says more than which of its series are missed
            "source_matchers": [matcher("alertname", TARGET_DOWN)],
            "target_matchers": [matcher("alertname", VANISHED), matcher("reason", "down")],
        },
    ]
    for job, name in alert_names(config.jobs).items():
        if config.jobs[job].group:
            labels = group_labels(AlertedJob(job, config.jobs[job], name, config.alerting))
            rules.append(
                {
                    "source_matchers": [matcher("alertname", STORM), matcher("query", job)],
                    "target_matchers": [matcher("alertname", name), matcher("query", job)],
                    "equal": list(labels),
                }
            )
    return rules


def _routes(alerting: AlertingConfig) -> list[dict[str, Any]]:
    return [
        {
            "matchers": [f'receivers=~"(.*,)?{name}(,.*)?"'],
            "receiver": name,
            "continue": True,
            "group_by": list(to.groups),
            "group_wait": milliseconds(to.group_wait),
            "group_interval": milliseconds(to.interval),
            "repeat_interval": milliseconds(to.repeat_interval),
            **({"mute_time_intervals": list(to.mute)} if to.mute else {}),
            **({} if to.group_by is not None else {"routes": [_of_incidents(to)]}),
        }
        for name, to in alerting.receivers.items()
    ]


def _of_incidents(to: ReceiverConfig) -> dict[str, Any]:
    """Return the route of alerts that belong to a joint incident: one message for each, of whatever jobs they are."""
    groups = [INCIDENT, *(name for name in to.groups if name != "query")]
    muted = {"mute_time_intervals": list(to.mute)} if to.mute else {}  # the only setting that is not inherited
    return {"matchers": [f'{INCIDENT}!=""'], "group_by": groups, **muted}


def _watchdog_routes(alerting: AlertingConfig) -> list[dict[str, Any]]:
    receiver = f"{alerting.watchdog}-heartbeat" if alerting.watchdog else NOBODY
    heartbeat = _HEARTBEAT if alerting.watchdog else {}
    return [{"matchers": [matcher("alertname", WATCHDOG)], "receiver": receiver, "group_by": [], **heartbeat}]


def _heartbeat_receiver(alerting: AlertingConfig) -> dict[str, Any]:
    assert alerting.watchdog is not None
    to = alerting.receivers[alerting.watchdog]
    return _receiver(f"{alerting.watchdog}-heartbeat", to.model_copy(update={"resolved": False}))


def _receiver(name: str, to: ReceiverConfig) -> dict[str, Any]:
    integrations = {
        f"{kind}_configs": [RECEIVERS[kind].alertmanager(section, to.resolved)] for kind, section in to.ways.items()
    }
    return {"name": name, **integrations}


def _interval(interval: TimeInterval) -> dict[str, Any]:
    times = [{"start_time": begin, "end_time": end} for text in interval.times for begin, end in spans(text)]
    fields = {
        "times": times,
        "weekdays": interval.weekdays,
        "days_of_month": interval.days_of_month,
        "months": interval.months,
        "years": interval.years,
    }
    return {**{name: list(value) for name, value in fields.items() if value}, "location": interval.location}
