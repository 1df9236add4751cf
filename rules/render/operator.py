"""Routing and scraping as objects of the Prometheus operator: an AlertmanagerConfig and a ScrapeConfig."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from exporter.config.check import secrets
from exporter.config.receivers import RECEIVERS
from exporter.config.receivers.kind import NotInOperatorError
from exporter.config.secrets import Secret
from exporter.config.section_base import Section
from exporter.config.sections.alerting import AlertingConfig, ReceiverConfig
from exporter.config.sections.root import Config
from rules.alerts.alert import Group
from rules.render import alertmanager
from rules.render.prometheus import OBJECTS
from rules.render.yaml_text import HEADER, document, text

GROUP: Final = "monitoring.coreos.com/v1alpha1"
SECRETS: Final = "anomaly-exporter-alerting"
"""The Secret of what Alertmanager needs to reach the receivers."""
SCRAPE_SECRET: Final = "anomaly-exporter-scrape"  # noqa: S105 - its name
"""The Secret with username and password of our port."""
_MATCHER: Final = re.compile(r'(?P<name>.*?)(?P<type>=~|!~|!=|=)"(?P<value>.*)"', re.DOTALL)
_CAMEL: Final = {
    "continue": "continue",
    "group_by": "groupBy",
    "group_interval": "groupInterval",
    "group_wait": "groupWait",
    "mute_time_intervals": "muteTimeIntervals",
    "receiver": "receiver",
    "repeat_interval": "repeatInterval",
}


def files(config: Config, _: Sequence[Group]) -> dict[str, str]:
    """Return an AlertmanagerConfig where there are receivers, and a ScrapeConfig where our address is known."""
    made = {}
    if config.alerting.receivers:
        advice = "".join(f"# {line}\n" for line in _advice(config))
        made[f"{OBJECTS}/alertmanager-config.yml"] = HEADER + advice + text(alertmanager_config(config))
    if config.web.external_url is not None:
        made[f"{OBJECTS}/scrape-config.yml"] = document(scrape_config(config))
    return made


def left_out(config: Config) -> Iterator[str]:
    """Yield what the AlertmanagerConfig cannot say of this configuration."""
    for name, to in config.alerting.receivers.items():
        for kind, section in to.ways.items():
            entry = _entry(kind, section, to.resolved)
            if isinstance(entry, NotInOperatorError):
                yield f"alerting.receivers.{name}.{kind} is not in the AlertmanagerConfig: {entry}"
    for name, interval in config.alerting.time_intervals.items():
        if interval.location != "UTC":
            yield (
                f"alerting.time_intervals.{name} is not in the AlertmanagerConfig, whose times are in UTC and not in "
                f"{interval.location}: its receivers are never muted there"
            )


def alertmanager_config(config: Config) -> dict[str, Any]:
    """Return the routing of alertmanager.yml as an object; what it cannot say is left out (`left_out`)."""
    native = alertmanager.configuration(config)
    alerting = config.alerting
    muted = {name for name, interval in alerting.time_intervals.items() if interval.location == "UTC"}
    spec: dict[str, Any] = {
        "route": _route(native["route"], muted),
        "inhibitRules": [_inhibition(rule) for rule in native["inhibit_rules"]],
        "receivers": [_receiver(each["name"], alerting) for each in native["receivers"]],
    }
    intervals = [each for each in native.get("time_intervals", ()) if each["name"] in muted]
    if intervals:
        spec["muteTimeIntervals"] = [
            {"name": each["name"], "timeIntervals": [_times(one) for one in each["time_intervals"]]}
            for each in intervals
        ]
    return {
        "apiVersion": GROUP,
        "kind": "AlertmanagerConfig",
        "metadata": _metadata("alerting", alerting),
        "spec": spec,
    }


def scrape_config(config: Config) -> dict[str, Any]:
    """Return the ScrapeConfig of an exporter that runs outside of the cluster, at `web.external_url`."""
    assert config.web.external_url is not None
    url = urlsplit(config.web.external_url)
    target = url.netloc if url.port else f"{url.netloc}:{443 if url.scheme == 'https' else 80}"
    spec: dict[str, Any] = {
        "jobName": config.alerting.health.scrape_job,
        "honorLabels": True,
        "scheme": url.scheme.upper(),
        "metricsPath": f"{url.path.rstrip('/')}/metrics",
        "staticConfigs": [{"targets": [target]}],
    }
    if config.web.users:
        spec["basicAuth"] = {key: {"name": SCRAPE_SECRET, "key": key} for key in ("username", "password")}
    return {
        "apiVersion": GROUP,
        "kind": "ScrapeConfig",
        "metadata": _metadata("exporter", config.alerting),
        "spec": spec,
    }


def _advice(config: Config) -> Iterator[str]:
    yield (
        "The Alertmanager object needs alertmanagerConfigMatcherStrategy: {type: None}, or names this object in "
        "alertmanagerConfiguration:"
    )
    yield "by default the operator lets through only alerts whose label namespace is that of this object."
    held = dict(_held(config.alerting))
    if held:
        yield "Its secrets, beside it: kubectl create secret generic " + " ".join(
            [SECRETS, *(f"--from-file={key}={path}" for key, path in sorted(held.items()))]
        )
    for reason in left_out(config):
        yield f"Left out: {reason}."


def _metadata(component: str, alerting: AlertingConfig) -> dict[str, Any]:
    own = {"app.kubernetes.io/name": "anomaly-exporter", "app.kubernetes.io/component": component}
    return {"name": "anomaly-exporter", "labels": {**own, **alerting.rule_labels}}


def _held(alerting: AlertingConfig) -> Iterator[tuple[str, Path]]:
    """Yield the key and the file of every secret that is in the object."""
    for to in alerting.receivers.values():
        for kind, section in to.ways.items():
            if not isinstance(_entry(kind, section, to.resolved), NotInOperatorError):
                for _, secret in secrets(section, ()):
                    assert secret.file is not None  # Alertmanager reads no environment
                    yield _key(secret.file), secret.file


def _entry(kind: str, section: Section, resolved: bool) -> dict[str, Any] | NotInOperatorError:
    """Return how the object reaches a receiver, or why it cannot say that."""
    try:
        return RECEIVERS[kind].operator(section, resolved, _secret)
    except NotInOperatorError as error:
        return error


def _secret(secret: Secret) -> dict[str, str]:
    assert secret.file is not None  # as above
    return {"name": SECRETS, "key": _key(secret.file)}


def _key(path: Path) -> str:
    """Return a key of a Secret for a file: its whole path, since two may have one name."""
    return re.sub(r"[^-._a-zA-Z0-9]", "-", ".".join(path.parts[1:]))


def _receiver(name: str, alerting: AlertingConfig) -> dict[str, Any]:
    heartbeat = f"{alerting.watchdog}-heartbeat"
    to: ReceiverConfig | None = alerting.receivers.get(alerting.watchdog or "" if name == heartbeat else name)
    made: dict[str, Any] = {"name": name}
    if to is None:
        return made
    for kind, section in to.ways.items():
        entry = _entry(kind, section, to.resolved and name != heartbeat)
        if not isinstance(entry, NotInOperatorError):
            made[f"{kind}Configs"] = [entry]
    return made


def _route(native: Mapping[str, Any], muted: set[str]) -> dict[str, Any]:
    made: dict[str, Any] = {_CAMEL[key]: value for key, value in native.items() if key in _CAMEL}
    if "muteTimeIntervals" in made:
        made["muteTimeIntervals"] = [name for name in made["muteTimeIntervals"] if name in muted]
        if not made["muteTimeIntervals"]:
            del made["muteTimeIntervals"]
    if "matchers" in native:
        made["matchers"] = [_matcher(each) for each in native["matchers"]]
    if "routes" in native:
        made["routes"] = [_route(route, muted) for route in native["routes"]]
    return made


def _matcher(written: str) -> dict[str, str]:
    found = _MATCHER.fullmatch(written)
    assert found is not None
    value = re.sub(r"\\(.)", lambda escaped: "\n" if escaped[1] == "n" else escaped[1], found["value"])
    return {"name": found["name"], "matchType": found["type"], "value": value}


def _inhibition(rule: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "sourceMatch": [_matcher(each) for each in rule["source_matchers"]],
        "targetMatch": [_matcher(each) for each in rule["target_matchers"]],
    }
    return made | ({"equal": rule["equal"]} if "equal" in rule else {})


def _times(native: Mapping[str, Any]) -> dict[str, Any]:
    """Return an interval of times; days of the month are numbers there."""
    made: dict[str, Any] = {}
    if "times" in native:
        made["times"] = [{"startTime": each["start_time"], "endTime": each["end_time"]} for each in native["times"]]
    if "days_of_month" in native:
        made["daysOfMonth"] = [_days(str(each)) for each in native["days_of_month"]]
    for key in ("weekdays", "months", "years"):
        if key in native:
            made[key] = [str(each) for each in native[key]]
    return made


def _days(days: str) -> dict[str, int]:
    start, _, end = days.partition(":")
    return {"start": int(start), "end": int(end or start)}
