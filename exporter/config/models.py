"""The configuration as closed pydantic models: an unknown key is an error.

Every field's description is the text of its row in `docs/configuration.md`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    PositiveInt,
    Tag,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
)
from pydantic_core import PydanticCustomError

from detectors import make
from exporter.config.alerting import AlertConfig, AlertingConfig, unheard
from exporter.config.drift import DriftDetection
from exporter.config.expression import balanced
from exporter.config.notify import NotifyConfig
from exporter.config.report import ReportConfig
from exporter.config.secrets import SENSITIVE, FilePath, Secret
from exporter.config.section import Conflict, LabelName, PositiveDuration, Section, SourceUrl
from exporter.config.storage import StoreOptions, StoreUrl
from exporter.config.train import TrainConfig
from exporter.config.units import Duration, RatePerWeek, Size

Publishable = Literal["value", "expected", "lower", "upper", "severity", "alert", "blame", "flapping"]
_HOST: Final = re.compile(r"[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.%]+\]")


def _form(value: object) -> str:
    return "reference" if isinstance(value, dict | Secret) else "text"


JobName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_][a-zA-Z0-9_.:-]{0,99}$")]
HeaderName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
UserName = Annotated[str, Field(pattern=r"^[^:\x00-\x1f]+$")]
PromQL = Annotated[str, AfterValidator(balanced)]
TextOrSecret = Annotated[Annotated[str, Tag("text")] | Annotated[Secret, Tag("reference")], Discriminator(_form)]


class ClientTLS(Section):
    """How the source's certificate is checked, and ours shown."""

    ca_file: FilePath | None = Field(None, description="certificates that vouch for the source; default: the system's")
    cert_file: FilePath | None = Field(None, description="our client certificate (PEM)")
    key_file: FilePath | None = Field(None, description="key of our client certificate (PEM)")
    insecure_skip_verify: bool = Field(False, description="accept any certificate; for experiments only")

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys do not go together."""
        if (self.cert_file is None) != (self.key_file is None):
            yield ("cert_file", "key_file"), "cert_file and key_file go together"


class BasicAuth(Section):
    """Name and password for HTTP basic authentication."""

    username: str = Field(description="user name")
    password: Secret = Field(description="password, by reference")


class PrometheusConfig(Section):
    """Where the samples come from: Prometheus, Thanos, Mimir or VictoriaMetrics."""

    url: SourceUrl = Field("http://localhost:9090", description="base address, with the path prefix if there is one")
    deadline: PositiveDuration = Field(20.0, description="total time for one query, retries included")
    retries: int = Field(2, ge=0, le=10, description="further attempts after a failure that may pass")
    concurrency: int = Field(4, ge=1, le=64, description="queries under way at once, over all jobs")
    basic_auth: BasicAuth | None = Field(None, description="HTTP basic authentication")
    bearer: Secret | None = Field(None, description="bearer token, by reference; read anew for every query")
    tls: ClientTLS = Field(ClientTLS(), description="certificates")
    headers: dict[HeaderName, TextOrSecret] = Field(
        {}, description="extra headers, for example X-Scope-OrgID for Mimir; text or a reference to a secret"
    )
    proxy_from_environment: bool = Field(False, description="honour HTTP_PROXY, NO_PROXY and ~/.netrc")
    compression: Literal["identity", "gzip"] = Field(
        "identity", description="gzip saves bandwidth to a remote source and costs it processor time"
    )
    max_response: Size = Field(256 * 2**20, description="most decoded bytes read from one answer")
    max_points: int = Field(11_000, ge=2, description="points per series in one query; longer ranges are split")

    @field_validator("headers")
    @classmethod
    def _safe_headers(cls, headers: dict[str, str | Secret]) -> dict[str, str | Secret]:
        for name, value in headers.items():
            if isinstance(value, str) and SENSITIVE.search(name):
                raise ValueError(
                    f"{name} looks like a secret; write {{env: NAME}} or {{file: PATH}} instead of the text"
                )
            if isinstance(value, str) and not value.isprintable():
                raise ValueError(f"{name} holds a line break or control character")
        return headers

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys do not go together."""
        if self.basic_auth and self.bearer:
            yield ("basic_auth", "bearer"), "basic_auth and bearer exclude each other"


class JobConfig(Section):
    """One question (or one per channel) and how its answers are judged."""

    expr: PromQL | None = Field(None, description="PromQL of a job with one channel")
    channels: dict[LabelName, PromQL] = Field(
        {}, description="PromQL by channel name; series are joined on their labels"
    )
    entity: tuple[LabelName, ...] | None = Field(
        None, description="labels that identify an entity; default: all labels of the series"
    )
    group: tuple[LabelName, ...] = Field(
        (), description="labels that make a group of entities, for anomaly_group_score"
    )
    step: PositiveDuration = Field(60.0, description="distance of samples, and how often the job is judged")
    window: PositiveDuration = Field(3600.0, description="time span the detector sees")
    detector: str | dict[str, dict[str, Any]] = Field(
        "auto", validate_default=True, description="detector name, or {name: {parameter: …}}"
    )
    history: PositiveDuration | None = Field(
        None, description="what a new job replays before its first verdict, such as 14d; default: the window"
    )
    lag: Duration = Field(0.0, description="judge this far in the past, where samples arrive late")
    fill: int = Field(2, ge=0, description="gaps of up to this many samples are filled from their neighbours")
    direction: Literal["above", "below", "both"] = Field("both", description="which deviations count")
    least_deviation: float = Field(
        0.0, ge=0, description="deviations smaller than this, in the unit of the metric, do not count"
    )
    valid_range: tuple[float | None, float | None] | None = Field(
        None, description="a value outside [lowest, highest] is always an anomaly"
    )
    open_after: PositiveInt = Field(1, description="samples above 1, in a row, that open an incident")
    clear_after: Duration = Field(300.0, description="time without a score above 0.6 that closes an incident")
    flap_limit: PositiveInt = Field(
        4, description="openings and closings within flap_window beyond which an entity is flapping: held flagged"
    )
    flap_window: PositiveDuration = Field(
        3600.0, description="flapping ends when nothing has opened or closed for this long"
    )
    max_hold: PositiveDuration = Field(86_400.0, description="after this the incident's level becomes the new normal")
    line: RatePerWeek = Field(1.0, gt=0, description="incidents per week and entity by chance at score 1")
    budget: RatePerWeek = Field(1.0, gt=0, description="alerts per week for the whole job")
    publish: frozenset[Publishable] = Field(
        frozenset({"value", "severity", "alert", "expected", "lower", "upper", "blame", "flapping"}),
        description="gauges beside anomaly_score and anomaly_flag",
    )
    max_age: PositiveDuration | None = Field(
        None, description="scores older than this are withdrawn; default: five steps, at least 1m"
    )
    max_series: PositiveInt | None = Field(None, description="overrides limits.series for this job")
    drift_detection: DriftDetection = Field(None, description="as at the top level, for this job")
    rate: bool = Field(True, description="turn a bare counter into rate(), as the metadata says")
    alert: AlertConfig = Field(AlertConfig.model_construct(for_=0.0), description="generated alert")

    @field_validator("detector", mode="before")
    @classmethod
    def _known_detector(cls, value: Any, info: ValidationInfo) -> str | dict[str, dict[str, Any]]:
        if isinstance(value, dict):
            value = {name: {} if parameters is None else parameters for name, parameters in value.items()}
        if not (
            isinstance(value, str) or (isinstance(value, dict) and all(isinstance(p, dict) for p in value.values()))
        ):
            raise ValueError("must be the name of a detector, or {name: {parameter: value}}")
        samples = max(1, round(info.data.get("window", 3600.0) / info.data.get("step", 60.0)))
        try:
            make(value, window=samples)
        except ValidationError as error:
            raise PydanticCustomError(
                "parameters", "{text}", {"text": str(error), "found": error.errors(include_url=False)}
            ) from None
        except ImportError as error:
            raise ValueError(f"this detector needs the Python module {error.name}, which is not installed") from None
        return value

    @field_validator("valid_range", mode="before")
    @classmethod
    def _both_ends(cls, value: Any) -> Any:
        if value is not None and not (isinstance(value, list | tuple) and len(value) == 2):
            raise ValueError("must be [lowest, highest]; null leaves an end open")
        return value

    @field_serializer("publish", when_used="json")
    def _sorted(self, publish: frozenset[Publishable]) -> list[str]:
        return sorted(publish)  # the order of a set differs from process to process, and digests are taken of this

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys do not go together."""
        if (self.expr is None) == (not self.channels):
            yield ("expr", "channels"), "give exactly one of expr or channels"
        if self.window < 2 * self.step:
            yield ("window", "step"), "window must hold at least two steps"
        if self.history is not None and self.history < self.window:
            yield ("history", "window"), "history must be at least as long as window"
        if self.max_age is not None and self.max_age < self.step:
            yield ("max_age", "step"), "max_age must be at least one step, or scores vanish between two verdicts"
        if self.valid_range and None not in self.valid_range and self.valid_range[0] > self.valid_range[1]:  # type: ignore[operator] # None is ruled out before
            yield ("valid_range",), "the lowest value comes first"
        if self.entity is not None and (missing := set(self.group) - set(self.entity)):
            yield ("group", "entity"), f"group needs labels that entity leaves out: {', '.join(sorted(missing))}"

    @property
    def queries(self) -> dict[str, str]:
        """PromQL by channel; the only channel of a job with `expr` is called `value`."""
        return self.channels or {"value": self.expr or ""}

    @property
    def withdraw_after(self) -> float:
        """Seconds after which scores are withdrawn."""
        return self.max_age if self.max_age is not None else max(5 * self.step, 60.0)


class WebTLS(Section):
    """TLS of the exporter's own port."""

    cert_file: FilePath = Field(description="certificate (PEM)")
    key_file: FilePath = Field(description="key (PEM)")
    client_ca_file: FilePath | None = Field(None, description="demand a client certificate signed by these")


class WebConfig(Section):
    """The exporter's own port."""

    listen: str = Field("0.0.0.0:9877", description="address and port of our page")
    tls: WebTLS | None = Field(None, description="serve HTTPS")
    users: dict[UserName, Secret] = Field(
        {}, description="basic authentication: user name to a bcrypt hash, by reference"
    )
    enable_reload: bool = Field(False, description="allow POST /-/reload and /-/accept; SIGHUP always works")
    max_connections: int = Field(512, ge=8, description="connections open at once")

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, listen: str) -> str:
        host, colon, port = listen.rpartition(":")
        if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65_535 or not _HOST.fullmatch(host):
            raise ValueError("must be ADDRESS:PORT, such as 0.0.0.0:9877, 127.0.0.1:9877 or [::]:9877")
        return listen


class AuditConfig(Section):
    """The CSV audit file."""

    path: FilePath = Field(description="CSV file; a lock file and rotated files stand beside it")
    all_samples: bool = Field(False, description="write every judged sample, not only flag changes and flagged samples")
    max_size: Size = Field(64 * 2**20, gt=4096, description="rotate at this size")
    keep: int = Field(5, ge=0, description="rotated files kept")


class ModelsConfig(Section):
    """Where fitted models are kept."""

    path: FilePath | None = Field(None, description="folder of the model store")
    url: StoreUrl | None = Field(
        None, description="instead of path an object store, as fsspec writes it: s3://bucket/prefix"
    )
    options: StoreOptions = Field(
        {}, description="what fsspec is told of the object store; secrets by reference: secret: {env: NAME}"
    )
    timeout: PositiveDuration = Field(30.0, description="longest wait for one answer of an object store")
    poll: PositiveDuration = Field(30.0, description="how often an object store is asked for a newer model")
    key: Secret | None = Field(
        None, description="HMAC key; without it a digest guards against damage, not against forgery"
    )
    max_size: Size = Field(512 * 2**20, description="a larger model file is refused")

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys do not go together."""
        if (self.path is None) == (self.url is None):
            yield ("path", "url"), "give exactly one of path or url"
        if self.options and self.url is None:
            yield ("options", "url"), "options are for url only"


class StateConfig(Section):
    """What jobs remember over a restart."""

    path: FilePath = Field(description="folder for what the jobs have learnt and which incidents are open")
    every: PositiveDuration = Field(300.0, description="how often it is saved; also at every stop")


class LogConfig(Section):
    """The exporter's log."""

    format: Literal["json", "console"] = Field("json", description="one JSON object a line, or text for people")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level written")


class LimitsConfig(Section):
    """What one query may bring in; the rest is dropped and counted."""

    series: int = Field(10_000, ge=1, description="series per query")
    samples: int = Field(50_000_000, ge=1, description="samples per query")


class Config(Section):
    """The whole configuration."""

    prometheus: PrometheusConfig = Field(PrometheusConfig(), description="the source")
    jobs: dict[JobName, JobConfig] = Field(min_length=1, description="jobs by name; the name becomes the query label")
    web: WebConfig = Field(WebConfig(), description="our own port")
    audit: AuditConfig | None = Field(None, description="CSV audit file; none by default")
    models: ModelsConfig | None = Field(None, description="model store; none by default: models are fitted at start")
    state: StateConfig | None = Field(None, description="state kept over restarts; none by default: jobs start anew")
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
