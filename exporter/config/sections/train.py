"""How models are retrained and when: `train`."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt

from exporter.config.secrets import FilePath, Secret
from exporter.config.section_base import Conflict, PositiveDuration, Section, SourceUrl
from exporter.config.values import Duration, balanced


class Endpoint(Section):
    """Another server that the training talks to."""

    url: SourceUrl = Field(description="base address, with the path prefix if there is one")
    username: str | None = Field(None, description="user name for HTTP basic authentication")
    password: Secret | None = Field(None, description="its password, by reference")
    bearer: Secret | None = Field(None, description="bearer token, by reference")
    ca_file: FilePath | None = Field(
        None, description="certificate authorities to check it with; default: the system's"
    )
    deadline: PositiveDuration = Field(20.0, description="total time for one request, retries included")

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys do not go together."""
        if (self.username is None) != (self.password is None):
            yield ("username", "password"), "username and password go together"
        if self.username is not None and self.bearer is not None:
            yield ("username", "bearer"), "username and bearer exclude each other"


class GateConfig(Section):
    """What a new model must show before it is promoted (docs/training.md)."""

    margin: float = Field(
        0.05, ge=0, le=1, description="recall, precision, F1 and faults found may be this much below the old model's"
    )
    more_false: float = Field(
        0.2, ge=0, description="share of false incidents more than the old model's, plus two standard deviations"
    )
    most_false: float = Field(
        10.0, gt=0, description="without an old model: most false incidents, as a multiple of the job's false_alarms"
    )
    most_flagged: float = Field(
        0.1, gt=0, le=1, description="without an old model: most of the time with an incident outside known ones"
    )
    least_found: float = Field(
        0.5, ge=0, le=1, description="without an old model: least share of known incidents or of injected faults found"
    )
    least_events: int = Field(
        3, ge=0, description="with fewer known incidents in the held-out time, faults are injected to find out more"
    )


class TrainConfig(Section):
    """What `anomaly-exporter train` learns from, when, and what a new model must show."""

    window: PositiveDuration = Field(1_209_600.0, description="time the training looks back")
    holdout: float = Field(
        0.2, gt=0, lt=1, description="share of that, the newest, held out from the training to evaluate the new model"
    )
    every: Duration = Field(604_800.0, description="train when the last training is this long ago; 0s never")
    max_age: Duration = Field(
        2_592_000.0, description="train when the active model is older, whatever was tried since; 0s never"
    )
    new_events: int = Field(
        5, ge=0, description="train when the incidents file holds so many more than at the last training; 0 never"
    )
    incidents: FilePath | None = Field(
        None,
        description="YAML list of labelled incidents {start, end, labels}: left out of the training, used to evaluate",
    )
    alerts: Annotated[str, AfterValidator(balanced)] | None = Field(
        None, description="matchers of alerts in Prometheus whose firing counts as a known incident"
    )
    alertmanager: Endpoint | None = Field(
        None, description="Alertmanager whose silences are left out of the training, and that takes those of the pages"
    )
    gate: GateConfig = Field(GateConfig(), description="what a new model must show")
    shards: PositiveInt = Field(1, description="replicas of the exporter; each has its own models")
    backend: Literal["loky", "dask", "sequential"] = Field("loky", description="where jobs and shards are trained")
    scheduler: str | None = Field(None, description="address of the Dask scheduler, such as tcp://dask:8786")
    pushgateway: Endpoint | None = Field(None, description="Pushgateway that gets the outcome; none by default")

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys do not go together."""
        if self.backend == "dask" and self.scheduler is None:
            yield ("backend", "scheduler"), "backend: dask needs the scheduler's address, such as tcp://dask:8786"
