"""An alert with its rule, texts, runbook section and test cases."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import quote_plus

from exporter.config.sections.alerting import AlertConfig, AlertingConfig, HealthConfig, LinksConfig
from exporter.promql import label_name, quote
from rules.alerts.templates import Text, graph_path, literal, plain

EXTERNAL_URL: Final = "http://prometheus.test"
"""Address of Prometheus in the generated tests."""


@dataclass(frozen=True, slots=True)
class Case:
    """A promtool test of one alert.

    Parameters
    ----------
    title : str
    series : mapping of str to str
        Values in the notation of promtool, one per minute, by series.
    at : int
        Minute at which the alert is checked.
    fires : bool
    description : str, optional
        Expected description, if it differs from the example of the alert.
    """

    title: str
    series: Mapping[str, str]
    at: int
    fires: bool
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """One alerting rule.

    Parameters
    ----------
    name, expr : str
    labels : mapping of str to str
        Final values, not templates.
    summary, description : Text
    graph : Text
        Path of a graph that shows what happened.
    series : mapping of str to str
        Labels of the result of `expr` in the cases that fire.
    meaning, action : str
        Markdown for the runbook, the same for all alerts of this name.
    cases : tuple of Case
        At least one that fires and one that does not.
    for_, keep_firing_for : float
        Seconds.
    annotations : mapping of str to Text
        Additional annotations.
    detail : str
        One line for the runbook that concerns only this job.
    found : mapping of str to Text
        Labels whose values are found when the rule is evaluated.
    chosen : Text or None
        What the link to the dashboard chooses besides the job.
    """

    name: str
    expr: str
    labels: Mapping[str, str]
    summary: Text
    description: Text
    graph: Text
    series: Mapping[str, str]
    meaning: str
    action: str
    cases: tuple[Case, ...]
    for_: float = 0.0
    keep_firing_for: float = 0.0
    annotations: Mapping[str, Text] = field(default_factory=dict)
    detail: str = ""
    found: Mapping[str, Text] = field(default_factory=dict)
    chosen: Text | None = None

    def rule(self) -> dict[str, Any]:
        """Return the rule in the format of Prometheus."""
        texts = {"summary": self.summary, "description": self.description, **self.annotations}
        made: dict[str, Any] = {"alert": self.name, "expr": self.expr}
        if self.for_:
            made["for"] = milliseconds(self.for_)
        if self.keep_firing_for:
            made["keep_firing_for"] = milliseconds(self.keep_firing_for)
        made["labels"] = {name: plain(text) for name, text in self.labels.items()}
        made["labels"] |= {name: text.template for name, text in self.found.items()}
        if not made["labels"]:  # the series of its expression have all of them
            del made["labels"]
        made["annotations"] = {name: text.template for name, text in texts.items()}
        return made

    def fired(self, case: Case) -> dict[str, Any]:
        """Return the alert that promtool expects in a case that fires."""
        description = self.description.example if case.description is None else case.description
        texts = {"summary": self.summary.example, "description": description}
        texts |= {name: text.example for name, text in self.annotations.items()}
        found = {name: text.example for name, text in self.found.items()}
        return {"exp_labels": {**self.series, **self.labels, **found}, "exp_annotations": texts}


@dataclass(frozen=True, slots=True)
class Group:
    """The alerts of one rule file; `job` is None for those on the exporter itself."""

    name: str
    slug: str
    job: str | None
    alerts: tuple[Alert, ...]


def milliseconds(seconds: float) -> str:
    """Write a duration for Prometheus, in the largest unit that keeps the number whole."""
    whole = round(seconds * 1000)
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if whole and whole % size == 0:
            return f"{whole // size}{unit}"
    return f"{whole}ms"


def labels(alert: AlertConfig | HealthConfig, alerting: AlertingConfig) -> dict[str, str]:
    """Return the labels that route an alert: severity and receivers."""
    receivers = alerting.receivers_of(alert)
    return {"severity": alert.severity, **({"receivers": ",".join(receivers)} if receivers else {})}


def with_links(alert: Alert, links: LinksConfig) -> Alert:
    """Add the links to graph, dashboard and runbook that are configured."""
    base = Text("{{ $externalURL }}", EXTERNAL_URL) if links.graph is None else literal(links.graph)
    found = {"graph_url": base + alert.graph}
    if links.dashboard is not None:
        found["dashboard_url"] = literal(links.dashboard)
        if query := alert.series.get("query"):
            found["dashboard_url"] += Text("?var-query={{ urlquery $labels.query }}", f"?var-query={quote_plus(query)}")
            if alert.chosen is not None:
                found["dashboard_url"] += alert.chosen
    if links.runbook is not None:
        found["runbook_url"] = literal(f"{links.runbook}#{alert.name.lower()}")
    return replace(alert, annotations={**found, **alert.annotations})


def series(metric: str, /, **labels: str) -> str:
    """Write a series for promtool, whose label values are PromQL strings."""
    return metric + "{" + ",".join(f"{label_name(name)}={quote(value)}" for name, value in labels.items()) + "}"


def graph(expr: str) -> Text:
    """Return the path of a graph of an expression without labels of the alert."""
    return literal(graph_path(expr))
