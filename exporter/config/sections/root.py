"""The whole configuration as closed pydantic models: an unknown key is an error.

Every field's description is the text of its row in `docs/configuration.md`.
"""

from collections.abc import Iterator
from typing import Final

from pydantic import Field, ValidationInfo, field_validator

from exporter.config.section_base import Conflict, Section
from exporter.config.sections.alerting import AlertingConfig, ReceiverName, unknown, unreachable
from exporter.config.sections.calendars import CalendarConfig
from exporter.config.sections.context import DeploysConfig
from exporter.config.sections.discover import DiscoverConfig
from exporter.config.sections.job import DriftDetection, JobConfig, JobDefaults, JobName
from exporter.config.sections.leader import LeaderConfig
from exporter.config.sections.models import ModelsConfig
from exporter.config.sections.notify import NotifyConfig
from exporter.config.sections.remote_write import RemoteWrites, same_names
from exporter.config.sections.service import AuditConfig, LogConfig, ReportConfig, StateConfig, WebConfig
from exporter.config.sections.source import LimitsConfig, PrometheusConfig
from exporter.config.sections.train import TrainConfig
from exporter.config.values import Duration, RatePerWeek

_BUDGET_OF_JOB: Final = 1.0
"""Alerts per week by chance of one job, where nothing is said."""
BUDGET: Final = 3.0
"""The same of all jobs together: one every other day."""


def budget_share(budget: float | None, jobs: int) -> float:
    """Return the alerts per week of each of so many jobs that share the `budget` (None: the default) of all.

    In equal parts, whatever the number of entities: it is known from the configuration alone, so that a backtest of one
    job decides as the running exporter does, and a job about one number is not silenced by one about thousands.
    """
    return min(_BUDGET_OF_JOB, BUDGET / jobs) if budget is None else budget / jobs


class Config(Section):
    """The whole configuration."""

    prometheus: PrometheusConfig = Field(PrometheusConfig(), description="the source")
    budget: RatePerWeek | None = Field(
        None,
        gt=0,
        description="alerts per week that all jobs without a `budget` of their own share evenly; default: 1 per week "
        "for each, 3 per week for all of them",
    )
    deploys: DeploysConfig = Field(DeploysConfig(), description="deploys, as the source's metrics tell them")
    defaults: JobDefaults = Field(
        JobDefaults(), description="keys of a job, for every job that does not set them itself"
    )
    calendars: dict[ReceiverName, CalendarConfig] = Field(
        {}, description="days and hours that are unlike others, by name, for the `calendars` of jobs"
    )
    jobs: dict[JobName, JobConfig] = Field(
        {}, description="jobs by name; the name becomes the query label; required without `discover`"
    )
    discover: DiscoverConfig | None = Field(
        None, description="jobs that teams declare in objects of Kubernetes; none by default"
    )
    web: WebConfig = Field(WebConfig(), description="our own port")
    audit: AuditConfig | None = Field(None, description="CSV audit file; none by default")
    models: ModelsConfig | None = Field(None, description="model store; none by default: models are fitted at start")
    state: StateConfig | None = Field(
        None, description="state kept over restarts; none by default: every start learns from the history again"
    )
    leader: LeaderConfig | None = Field(
        None, description="several exporters with this configuration, one of which leads; none by default: one is alone"
    )
    log: LogConfig = Field(LogConfig(), description="log")
    limits: LimitsConfig = Field(LimitsConfig(), description="limits on what comes in")
    alerting: AlertingConfig = Field(AlertingConfig(), description="generated rules and routing through Alertmanager")
    notify: NotifyConfig = Field(NotifyConfig(), description="notifications without Alertmanager")
    remote_write: RemoteWrites = Field(
        (), description="servers that all we publish is written to, one or a list; none by default: somebody scrapes us"
    )
    drift_detection: DriftDetection = Field(None, description="watch every job for drift and ask for new models")
    report: ReportConfig | None = Field(None, description="a report on every week or month; none by default")
    train: TrainConfig = Field(TrainConfig(), description="what models are trained on, when, and what they must show")
    reload_poll: Duration = Field(10.0, description="how often the files are checked for changes; 0s never")

    @field_validator("jobs")
    @classmethod
    def _with_calendars(cls, jobs: dict[str, JobConfig], info: ValidationInfo) -> dict[str, JobConfig]:
        """Put the calendars in the place of their names."""
        known: dict[str, CalendarConfig] = info.data.get("calendars", {})
        if "calendars" not in info.data:  # one of them is wrong, and reported
            return jobs
        for name, job in jobs.items():
            for calendar in job.calendars:
                if isinstance(calendar, str) and calendar not in known:
                    raise ValueError(f"{name}: calendars: {unknown('calendar', calendar, known)}")
        named = {name: calendar.model_copy(update={"name": calendar.name or name}) for name, calendar in known.items()}
        return {
            name: job.model_copy(
                update={"calendars": tuple(named[c] if isinstance(c, str) else c for c in job.calendars)}
            )
            if job.calendars
            else job
            for name, job in jobs.items()
        }

    @field_validator("jobs")
    @classmethod
    def _with_budgets(cls, jobs: dict[str, JobConfig], info: ValidationInfo) -> dict[str, JobConfig]:
        """Give every job without a budget of its own its part of the budget of all."""
        sharing = sum("budget" not in job.model_fields_set for job in jobs.values())
        if "budget" not in info.data or not sharing:  # the one of all is wrong, and reported
            return jobs
        share = budget_share(info.data["budget"], sharing)
        return {
            name: job if "budget" in job.model_fields_set else job.model_copy(update={"budget": share})
            for name, job in jobs.items()
        }

    @field_validator("jobs")
    @classmethod
    def _with_deploys(cls, jobs: dict[str, JobConfig], info: ValidationInfo) -> dict[str, JobConfig]:
        """Give every job the settings of deploys that it does not set itself."""
        every = info.data.get("deploys")
        if every is None:  # it is wrong, and reported
            return jobs
        return {name: job.model_copy(update={"deploys": job.deploys.over(every)}) for name, job in jobs.items()}

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys do not go together."""
        if not self.jobs and self.discover is None:
            wrong = "is empty; name at least one" if "jobs" in self.model_fields_set else "jobs: is missing"
            yield ("jobs", "discover"), wrong
        if self.discover is not None:
            yield from self.discover.unknown_receivers(self.alerting)
        if self.leader is not None and self.state is None:
            yield ("leader",), "needs state: what a leader has told and learnt, the next one reads there"
        yield from same_names(self.remote_write)
        yield from unreachable({name: job.alert for name, job in self.jobs.items()}, self.alerting)
        for name, job in self.jobs.items():
            if job.alerting_metric == "flag" and any(
                not c.alert for c in job.calendars if isinstance(c, CalendarConfig)
            ):
                yield (
                    ("jobs",),
                    f"{name}: calendars: one with alert: false needs alert: {{metric: alert}} and the gauge alert; "
                    "every flag is an alert of this job",
                )
        if self.web.actions and self.state is None:
            yield ("web", "actions"), "actions: true needs a folder that keeps the answers: set state: {path: …}"
        if self.web.actions and not self.web.ui:
            yield ("web", "actions"), "actions: true needs the pages: leave out ui: false"
