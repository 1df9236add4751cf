"""The context that all alerts of one job share."""

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Final

from exporter.config.sections.alerting import AlertingConfig
from exporter.config.sections.job import JobConfig
from exporter.label_names import RESERVED, published_names
from exporter.promql import selector
from rules.alerts import firing_promql
from rules.alerts.alert import labels, milliseconds
from rules.alerts.templates import ADDED, Text, literal

RECENT: Final = 300.0
"""Seconds for which the newest result counts while scrapes fail."""


class AlertedJob:
    """One job, for its alerts.

    Parameters
    ----------
    name : str
        Name of the job; the label `query`.
    config : JobConfig
    alert_name : str
        Name of its own alert.
    alerting : AlertingConfig
    pages : str or None
        Address of the exporter's pages, where it is known.
    """

    def __init__(
        self, name: str, config: JobConfig, alert_name: str, alerting: AlertingConfig, pages: str | None = None
    ) -> None:
        self.name, self.config, self.alert_name, self.alerting = name, config, alert_name, alerting
        self.pages = pages
        self.labels = {**config.alert.labels, **labels(config.alert, alerting)}
        """Labels that the alerts of the job set."""
        self.ours = ADDED.union(self.labels)
        """Labels that an alert cannot take from a series, because the rule, Prometheus or vmalert sets them."""
        self.recent = milliseconds(max(RECENT, config.alert.keep_firing_for))
        self.detector = config.detector_name
        self.channels = tuple(config.queries)
        self.reachable = firing_promql.all_reachable(name, alerting.health.scrape_job)

    def selector(self, metric: str) -> str:
        """Return the selector of a metric of the job."""
        return selector(metric, query=self.name)

    def newest(self, metric: str) -> str:
        """Return the newest result, even if scrapes fail."""
        return firing_promql.recent(self.selector(metric), self.ours, self.recent)

    def latest(self, metric: str, span: str) -> str:
        """Return the highest result within a span: of a time, the latest that was said."""
        return f"max without ({', '.join(sorted(self.ours))}) (max_over_time({self.selector(metric)}[{span}]))"

    def firing(self, alert: str) -> str:
        """Return the firing series of an alert."""
        return firing_promql.firing(alert, self.name, self.ours)

    def still_firing(self, alert: str, own: str, reachable: str) -> str:
        """Return the firing series of an alert that have no new results."""
        return firing_promql.still_firing(alert, self.name, self.ours, own, reachable)

    def just_ended(self, alert: str, end: str, seconds: float) -> str:
        """Return the firing series of an alert whose incident ended within so many seconds; `end` is a metric."""
        return firing_promql.just_ended(alert, self.name, self.ours, self.selector(end), milliseconds(seconds))

    def entity(self, value: str) -> dict[str, str]:
        """Return the labels of a series of the job for a test; its entity labels have the given value."""
        several = {"channel"} if len(self.channels) > 1 else set()
        names = ("instance",) if self.config.entity is None else self.config.entity
        shown = published_names(names, RESERVED | several, self.alerting.escaping)
        return {**dict.fromkeys(shown, value), **self.judged}

    def minutes_after(self, minute: int) -> int:
        """Return the minute of a test at which an alert whose cause ended in `minute` no longer fires."""
        return minute + math.ceil(self.config.alert.keep_firing_for / 60) + 2

    @property
    def judged(self) -> dict[str, str]:
        """The labels that the exporter adds to every series."""
        return {"query": self.name, "detector": self.detector}

    def known(self, series: Mapping[str, str]) -> dict[str, str]:
        """Return the labels of a series that its alert also has."""
        return {name: value for name, value in series.items() if name not in self.ours}

    @cached_property
    def annotations(self) -> dict[str, Text]:
        """Annotations from the configuration."""
        return {name: literal(text) for name, text in self.config.alert.annotations.items()}
