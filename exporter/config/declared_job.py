"""One declared job: what a team may say of it, within which limits, and whose series it may see."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from detectors import DETECTORS
from exporter.config.declared_objects import Declaration
from exporter.config.defaults import with_defaults
from exporter.config.errors import ConfigError, Mistake
from exporter.config.nodes import Node, Origin, node_of
from exporter.config.sections.alerting import AlertConfig
from exporter.config.sections.discover import BETWEEN, DiscoverConfig
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.config.validation import validate
from exporter.promql import format_duration
from exporter.promql_tenant import of_tenant, require_small

MOST_CHANNELS: Final = 20
KEYS: Final = frozenset(
    {"expr", "channels", "entity", "group", "peers", "identity", "step", "window", "detector", "history", "lag", "fill"}
    | {"direction", "least_deviation", "unit", "valid_range", "open_after", "clear_after", "flap_limit", "flap_window"}
    | {"max_hold", "false_alarms", "calendars", "max_age", "max_series", "rate", "forecast", "alert"}
)
"""What a team may say of a job. No key of these names an address, a file or a secret."""
ALERT_KEYS: Final = frozenset({"severity"})
"""What it may say of the job's alert: one rule holds for all declared jobs."""
_SHARED: Final = {"defaults", "calendars", "deploys", "drift_detection"}
"""Sections of the configuration that a declared job has to agree with."""
_OURS: Final = Origin("the configuration of the exporter")


def checked(full: str, node: Node, each: Declaration, config: Config) -> JobConfig:
    """Return a job as the configuration lets it be. Raises ConfigError."""
    name = full.partition(BETWEEN)[2]
    discover = config.discover
    assert discover is not None
    # Before anything is made of it: a detector or a parser would already take what it must not.
    if closed := [*_outside(node, name), *_too_much(node, name, discover)]:
        raise ConfigError(*closed)
    dumped = node_of(config.model_dump(mode="json", by_alias=True, exclude_unset=True, include=_SHARED), _OURS)
    assert isinstance(dumped.value, dict)
    tree = Node({**dumped.value, "jobs": Node({full: node}, node.origin)}, _OURS)
    try:
        job = validate(with_defaults(tree), Config).jobs[full]
    except ConfigError as error:
        raise ConfigError(*(_of_team(mistake, full, name) for mistake in error.mistakes)) from None
    return _limited(job, node, name, each, config)


def _outside(node: Node, name: str) -> Iterator[Mistake]:
    """Yield the keys of a job that are the operator's."""
    if not isinstance(node.value, dict):
        return
    operators = {info.alias or key for key, info in JobConfig.model_fields.items()} - KEYS
    for key, child in node.value.items():
        if key in operators:
            yield _not_yours(child, ("jobs", name, key))
    alert = node.value.get("alert")
    if alert is not None and isinstance(alert.value, dict):
        operators = {info.alias or key for key, info in AlertConfig.model_fields.items()} - ALERT_KEYS
        for key, child in alert.value.items():
            if key in operators:
                yield _not_yours(child, ("jobs", name, "alert", key))


def _too_much(node: Node, name: str, discover: DiscoverConfig) -> Iterator[Mistake]:
    """Yield what would take too much to be looked at closer; whatever has the wrong form is left to the validation."""
    if not isinstance(node.value, dict):
        return

    def mistake(child: Node, text: str, *place: str) -> Mistake:
        return Mistake(child.origin.source, child.origin.line, ("jobs", name, *place), text)

    if (detector := node.value.get("detector")) is not None:
        chosen = next(iter(detector.value), "") if isinstance(detector.value, dict) else detector.value
        if isinstance(chosen, str) and chosen in DETECTORS and chosen not in discover.detectors:
            allowed = ", ".join(discover.detectors)
            yield mistake(detector, f"{chosen} is not one that declared jobs may use: {allowed}", "detector")
    channels = node.value.get("channels")
    several = channels.value if channels is not None and isinstance(channels.value, dict) else {}
    if channels is not None and len(several) > MOST_CHANNELS:
        yield mistake(channels, f"has {len(several)} channels; a declared job may have {MOST_CHANNELS}", "channels")
    queries: dict[tuple[str, ...], Node] = {("channels", channel): expr for channel, expr in several.items()}
    if "expr" in node.value:
        queries["expr",] = node.value["expr"]
    for place, expr in queries.items():
        try:
            require_small(str(expr.value))
        except ValueError as error:
            yield mistake(expr, str(error), *place)


def _not_yours(node: Node, place: tuple[str, ...]) -> Mistake:
    message = "is set by the operator of the exporter and not by a team; leave it out"
    return Mistake(node.origin.source, node.origin.line, place, message)


def _of_team(mistake: Mistake, full: str, name: str) -> Mistake:
    """Return a mistake with the name of the job as its team wrote it."""
    place = mistake.place
    return replace(mistake, place=("jobs", name, *place[2:])) if place[:2] == ("jobs", full) else mistake


def _limited(job: JobConfig, node: Node, name: str, each: Declaration, config: Config) -> JobConfig:
    """Return the job within the limits of its namespace. Raises ConfigError."""
    discover = config.discover
    assert discover is not None
    wrong: list[Mistake] = []

    def refuse(key: str, text: str) -> None:
        child = node.value.get(key, node) if isinstance(node.value, dict) else node
        wrong.append(Mistake(child.origin.source, child.origin.line, ("jobs", name, key), text))

    if job.step < discover.least_step:
        refuse("step", f"must be at least {format_duration(discover.least_step)}, says the operator of the exporter")
    if job.samples > discover.samples:
        refuse("window", f"holds {job.samples:,} samples; the operator of the exporter allows {discover.samples:,}")
    if isinstance(job.history, float) and job.history > discover.longest_history:
        refuse("history", f"must be at most {format_duration(discover.longest_history)}, says the operator")
    key, queries = ("channels", dict(job.channels)) if job.channels else ("expr", dict(job.queries))
    if discover.enforce is not None:
        for channel, expr in queries.items():
            try:
                queries[channel] = of_tenant(expr, discover.enforce, each.namespace)
            except ValueError as error:
                refuse(key, f"{channel}: {error}" if job.channels else str(error))
    if wrong:
        raise ConfigError(*wrong)
    most = min(each for each in (job.max_series, discover.series, config.limits.series) if each is not None)
    asked = {"channels": queries} if job.channels else {"expr": queries["value"]}
    alert = AlertConfig(severity=job.alert.severity, receivers=discover.receivers_of(each.namespace))
    return job.model_copy(update={**asked, "max_series": most, "alert": alert})
