"""The whole configuration as closed pydantic models: an unknown key is an error.

Every field's description is the text of its row in `docs/configuration.md`.
"""

from collections.abc import Iterator
from pathlib import Path

from pydantic import (
    Field,
)

from exporter.config.section_base import Conflict, Section
from exporter.config.sections.alerting import AlertingConfig, NotifyConfig, unheard
from exporter.config.sections.job import DriftDetection, JobConfig, JobName
from exporter.config.sections.models import ModelsConfig
from exporter.config.sections.service import AuditConfig, LogConfig, ReportConfig, StateConfig, WebConfig
from exporter.config.sections.source import LimitsConfig, PrometheusConfig
from exporter.config.sections.train import TrainConfig
from exporter.config.values import Duration


class Config(Section):
    """The whole configuration."""

    prometheus: PrometheusConfig = Field(PrometheusConfig(), description="the source")
    jobs: dict[JobName, JobConfig] = Field(min_length=1, description="jobs by name; the name becomes the query label")
    web: WebConfig = Field(WebConfig(), description="our own port")
    audit: AuditConfig | None = Field(None, description="CSV audit file; none by default")
    models: ModelsConfig | None = Field(None, description="model store; none by default: models are fitted at start")
    state: StateConfig | None = Field(
        None, description="state kept over restarts; none by default: jobs start without it"
    )
    log: LogConfig = Field(LogConfig(), description="log")
    limits: LimitsConfig = Field(LimitsConfig(), description="limits on what comes in")
    alerting: AlertingConfig = Field(AlertingConfig(), description="generated rules and routing through Alertmanager")
    notify: NotifyConfig = Field(NotifyConfig(), description="notices without Alertmanager")
    drift_detection: DriftDetection = Field(None, description="watch every job for drift and ask for new models")
    report: ReportConfig | None = Field(None, description="a report on every week or month; none by default")
    train: TrainConfig = Field(TrainConfig(), description="what models are trained on, when, and what they must show")
    reload_poll: Duration = Field(10.0, description="how often the files are checked for changes; 0s never")

    @property
    def shared(self) -> Path | None:
        """The folder that commands share with the running exporter: that of the models, else of the saved states."""
        place = self.models.path if self.models else None
        return place if place or self.state is None else self.state.path

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys do not go together."""
        yield from unheard({name: job.alert for name, job in self.jobs.items()}, self.alerting)
