"""The alert on a scrape target that gave samples to a job and has died."""

from collections.abc import Iterable
from typing import Final

from exporter.config.sections.alerting import AlertingConfig
from exporter.config.sections.job import JobConfig
from exporter.promql import metrics, quote, selector
from rules.alerts import names
from rules.alerts.alert import Alert, Case, graph, labels, series
from rules.alerts.templates import Text, label, literal

_BY_PROMETHEUS: Final = ("up", "scrape_")
"""How metrics begin that Prometheus makes of every target, dead ones too."""


def target_down(jobs: Iterable[JobConfig], alerting: AlertingConfig) -> tuple[Alert, ...]:
    """Return the alert on dead targets; none where no query names a metric.

    Which targets concern us is found from the data: those with a series of a metric that a job queries. They are
    remembered for five minutes after their last sample, and as long as the alert fires. Dead is a target whose `up` is
    0, or whose whole scrape job is gone (for an hour only: it may have been removed). A target that has left a scrape
    job that goes on was stopped.
    """
    scrape_job = alerting.health.scrape_job
    asked = {name: chosen for name, chosen in _asked(jobs).items() if chosen.get("job") != scrape_job}
    if not asked:
        return ()
    ups = f"up{{job!={quote(scrape_job)}}}"  # the exporter itself has an alert of its own
    firing = selector("ALERTS", alertname=names.TARGET_DOWN, alertstate="firing")
    given = [*(_given(name, chosen) for name, chosen in asked.items()), f"last_over_time({firing}[1h])"]
    sources = "\n  or ".join(f"group by (job, instance) ({each})" for each in given)
    name, chosen = next(iter(asked.items()))
    target = {"job": chosen.get("job", "j"), "instance": chosen.get("instance", "a")}
    up, neighbour = (series("up", **labelled) for labelled in (target, {**target, "instance": "other"}))
    fed = {} if name.startswith(_BY_PROMETHEUS) else {series(name, **{**chosen, **target}): "1x5 stale"}
    dead = Text(
        "{{ if eq $value 0.0 }}Prometheus cannot scrape it{{ else }}It is no target any more{{ end }}",
        "Prometheus cannot scrape it",
    )
    alert = Alert(
        name=names.TARGET_DOWN,
        expr=(
            f"(\n  {ups} == 0\n  or (last_over_time({ups}[1h]) unless on (job) last_over_time({ups}[1m]))\n)\n"
            f"and on (job, instance) (\n  {sources}\n)"
        ),
        labels=labels(alerting.health, alerting),
        summary=literal("Target ") + label("instance", target) + " of " + label("job", target) + " is down",
        description=dead + literal(": its series are not evaluated, so no other alert can fire for them."),
        graph=graph(ups),
        series=target,
        meaning="A scrape target has died whose series a job evaluates. Series that are missing have no score; they "
        "look neither healthy nor anomalous.",
        action="Does the machine answer, and does the process that serves the metrics run? `Status → Targets` of "
        "Prometheus has the error of the last scrape. A scrape job that was removed on purpose is forgotten after an "
        "hour.",
        cases=(
            Case("fires for the target that died", {up: "1x5 0x60", neighbour: "1x70", **fed}, 8, fires=True),
            Case("stays while it is dead", {up: "1x5 0x90", **fed}, 90, fires=True),
            Case("stays silent", {up: "1x20", **fed}, 10, fires=False),
            Case("stays silent for one failed scrape", {up: "1x5 0 1x20", **fed}, 7, fires=False),
            Case("is over when it is over", {up: "1x5 0x9 1x20", **fed}, 17, fires=False),
        ),
        for_=60.0,
    )
    return (alert,)


def _asked(jobs: Iterable[JobConfig]) -> dict[str, dict[str, str]]:
    """Return the labels that all selectors of a metric ask for, by metric."""
    found: dict[str, dict[str, str]] = {}
    for job in jobs:
        for expr in job.queries.values():
            for name, chosen in metrics(expr).items():
                before = found.get(name, chosen)
                found[name] = {label: value for label, value in chosen.items() if before.get(label) == value}
    return found


def _given(name: str, chosen: dict[str, str]) -> str:
    """Return an expression for the series of a metric that targets gave a short while ago."""
    if name.startswith(_BY_PROMETHEUS):
        asked = {label: value for label, value in chosen.items() if label in ("job", "instance")}
        return f"max_over_time({selector('up', **asked)}[1h]) == 1"
    return f"last_over_time({selector(name, **chosen)}[5m])"
