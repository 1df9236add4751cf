"""What is queried and how the answers are evaluated: `jobs` and `drift_detection`."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    PositiveInt,
    Tag,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from detectors import make, needs_peers
from exporter.config.section_base import ClassicName, Conflict, LabelName, PositiveDuration, Section, require
from exporter.config.sections.alerting import AlertConfig
from exporter.config.sections.calendars import CalendarConfig
from exporter.config.sections.context import DeploysConfig
from exporter.config.sections.forecast import ForecastConfig
from exporter.config.split_choice import AUTO, BY_ENTITY, not_split_by
from exporter.config.values import Duration, RatePerWeek, balanced, duration_or_auto
from exporter.families import OPTIONS
from exporter.promql import format_duration
from exporter.query_units import Unit, quantity_of

if TYPE_CHECKING:  # the choices are those of the table, which a type checker cannot follow
    Publishable = str
else:
    Publishable = Literal[OPTIONS]
UnitName = Literal["bytes", "bytes per second", "seconds", "ratio", "none"]
Units = Annotated[
    Annotated[UnitName, Tag("one")] | Annotated[dict[ClassicName, UnitName], Tag("by channel")],
    Discriminator(lambda value: "by channel" if isinstance(value, dict) else "one"),
]
JobName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_][a-zA-Z0-9_.:-]{0,99}$")]
PromQL = Annotated[str, AfterValidator(balanced)]
CalendarOrName = Annotated[
    Annotated[str, Tag("name")] | Annotated[CalendarConfig, Tag("calendar")],
    Discriminator(lambda value: "name" if isinstance(value, str) else "calendar"),
]
History = Annotated[
    float | Literal["auto"],
    BeforeValidator(duration_or_auto),
    PlainSerializer(lambda value: value if value == "auto" else format_duration(value), when_used="json"),
]
"""Seconds, or whatever the source has within bounds."""


_SWITCH: TypeAdapter[bool] = TypeAdapter(bool)


class DriftConfig(Section):
    """When a lasting change of a job's scores calls for a new model."""

    method: Literal["adwin", "ddm", "off"] = Field("adwin", description="what decides; needs anomaly-exporter[river]")
    delta: float = Field(0.002, gt=0, lt=1, description="adwin: chance of an error in each test; less is more patient")
    threshold: float = Field(5.0, gt=0, description="ddm: standard deviations that are a change; more is more patient")

    @model_validator(mode="after")
    def _available(self) -> "DriftConfig":
        if self.method != "off":
            require("river", "river")
        return self


def switched(value: Any) -> Any:
    """Return the settings that `true` and `false` stand for, and others as they are. Raises ValueError."""
    if value is None or isinstance(value, dict | DriftConfig):
        return value
    try:
        return {"method": "adwin" if _SWITCH.validate_python(value) else "off"}
    except ValidationError:
        raise ValueError("must be true, false, or keys such as {method: adwin}") from None


DriftDetection = Annotated[DriftConfig | None, BeforeValidator(switched)]
"""`true` stands for the default settings, `false` for off, None for the setting at the top level."""


def drift_settings(job: DriftConfig | None, every: DriftConfig | None) -> DriftConfig | None:
    """Return the drift settings of a job, None when it is not watched; its own settings override the global ones."""
    chosen = job or every
    return None if chosen is None or chosen.method == "off" else chosen


class JobConfig(Section):
    """One query (or one for each channel) and how its answers are evaluated."""

    expr: PromQL | None = Field(None, description="PromQL of a job with one channel")
    channels: dict[ClassicName, PromQL] = Field(
        {}, description="PromQL by channel name; series are joined on their labels"
    )
    entity: tuple[LabelName, ...] | None = Field(
        None, description="labels that identify an entity; default: all labels of the series"
    )
    group: tuple[LabelName, ...] = Field(
        (),
        description="labels that make a group of entities, for anomaly_group_score; the more of a group have an "
        "incident at once, the more severe one of them must be to be an alert of its own",
    )
    peers: tuple[LabelName, ...] | None = Field(
        None,
        description="labels that make a group of peers: each entity is judged against the others of its group at the "
        "same moment; []: against all others of the job; detectors auto and peers",
    )
    shard_by: str = Field(
        AUTO,
        min_length=1,
        description="with --shard: the label by which replicas split the queries, so that each reads its share alone; "
        "entity: each reads all and keeps its share; auto: a label that the queries group by, else entity",
    )
    identity: tuple[LabelName, ...] | None = Field(
        None,
        description="labels of an owner that stay when one of its series is replaced by another, such as [namespace, "
        "deployment]; default: all but those that change together from instance to instance",
    )
    step: PositiveDuration = Field(60.0, description="interval between samples, and between cycles of the job")
    window: PositiveDuration = Field(3600.0, description="time span the detector sees")
    detector: str | dict[str, dict[str, Any]] = Field(
        "auto", validate_default=True, description="detector name, or {name: {parameter: …}}"
    )
    history: History | None = Field(
        "auto",
        description="the past that a new job learns from before its first result, such as 14d; auto: what the source "
        "has of the last two weeks, less where many series would make the first start long",
    )
    lag: Duration = Field(0.0, description="evaluate samples this old, for sources where they arrive late")
    fill: int = Field(2, ge=0, description="gaps of up to this many samples are filled from their neighbours")
    direction: Literal["above", "below", "both"] = Field("both", description="which deviations count")
    least_deviation: float = Field(
        0.0, ge=0, description="deviations smaller than this, in the unit of the metric, do not count"
    )
    unit: Units | None = Field(
        None,
        description="what is written after numbers in texts, also by channel; none: nothing; default: guessed from the "
        "query",
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
    max_hold: PositiveDuration = Field(86_400.0, description="after this an incident's level, once at rest, is normal")
    false_alarms: RatePerWeek = Field(
        1.0, gt=0, description="incidents per week and entity that open by chance: what a score of 1 stands for"
    )
    budget: RatePerWeek = Field(
        1.0, gt=0, description="alerts per week for the whole job; default: its part of the `budget` of all jobs"
    )
    publish: frozenset[Publishable] = Field(
        frozenset(OPTIONS),
        description="gauges published in addition to anomaly_score and anomaly_flag",
    )
    calendars: tuple[CalendarOrName, ...] = Field(
        (), description="names of `calendars`: holidays, maintenance windows; or such sections themselves"
    )
    max_age: PositiveDuration | None = Field(
        None, description="scores older than this are withdrawn; default: five steps, at least 1m"
    )
    max_series: PositiveInt | None = Field(None, description="overrides limits.series for this job")
    drift_detection: DriftDetection = Field(None, description="as at the top level, for this job")
    rate: bool = Field(
        True, description="turn a bare counter into rate(); the source's metadata says which metrics are counters"
    )
    deploys: DeploysConfig = Field(
        DeploysConfig(), description="as at the top level, for this job: a key that is not given is that of all jobs"
    )
    forecast: ForecastConfig | None = Field(
        None, description="when a series that fills or drains reaches its limit, such as {limit: 0, within: 3d}"
    )
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
        if isinstance(self.history, float) and self.history < self.window:
            yield ("history", "window"), "history must be at least as long as window"
        if self.max_age is not None and self.max_age < self.step:
            yield ("max_age", "step"), "max_age must be at least one step, or scores vanish between two verdicts"
        if self.valid_range and None not in self.valid_range and self.valid_range[0] > self.valid_range[1]:  # type: ignore[operator] # None is ruled out before
            yield ("valid_range",), "the lowest value comes first"
        if self.entity is not None and (missing := set(self.group) - set(self.entity)):
            yield ("group", "entity"), f"group needs labels that entity leaves out: {', '.join(sorted(missing))}"
        if self.forecast is not None and (wrong := self._forecast_channel(self.forecast)):
            yield ("forecast",), wrong
        yield from self._peers_conflicts()
        by_label = self.shard_by not in {AUTO, BY_ENTITY} and any(self.queries.values())
        if by_label and (wrong := not_split_by(self.shard_by, self)):
            yield ("shard_by",), wrong
        if isinstance(self.unit, dict) and (unknown := self.unit.keys() - self.queries.keys()):
            yield (
                ("unit",),
                f"names no channel of the job: {', '.join(sorted(unknown))}; there are: {', '.join(self.queries)}",
            )

    def _forecast_channel(self, forecast: ForecastConfig) -> str:
        """Return what is wrong with the channel of a forecast, "" if nothing is."""
        there = f"there are: {', '.join(self.queries)}"
        if forecast.channel is None:
            return f"name its channel; {there}" if len(self.queries) > 1 else ""
        return "" if forecast.channel in self.queries else f"there is no channel {forecast.channel!r}; {there}"

    def _peers_conflicts(self) -> Iterator[Conflict]:
        """Say where no peers can be told, or the detector does not look at them."""
        if self.peers is None:
            if needs_peers(self.detector):
                yield ("detector",), "detector peers needs the key peers of the job: labels, or [] for all of the job"
            return
        if self.entity is not None and (missing := set(self.peers) - set(self.entity)):
            yield ("peers", "entity"), f"peers needs labels that entity leaves out: {', '.join(sorted(missing))}"
        try:
            make(self.detector, self.samples, self.peers)
        except ValidationError as error:
            told = (each["msg"].removeprefix("Value error, ") for each in error.errors())
            yield ("peers", "detector"), "; ".join(told)
        except ValueError as error:
            yield ("peers", "detector"), str(error)

    @property
    def queries(self) -> dict[str, str]:
        """PromQL by channel; the only channel of a job with `expr` is called `value`."""
        return self.channels or {"value": self.expr or ""}

    @property
    def units(self) -> dict[str, Unit]:
        """What is written after numbers, by channel: as `unit` says, else guessed from the query."""
        said = self.unit if isinstance(self.unit, dict) else dict.fromkeys(self.queries, self.unit)
        found: dict[str, Unit] = {}
        for channel, expr in self.queries.items():
            name = said.get(channel)
            found[channel] = quantity_of(expr, self.rate).unit if name is None else "" if name == "none" else name
        return found

    @property
    def alerting_metric(self) -> Literal["alert", "flag"]:
        """Which verdict fires the job's alert: every flag too where `anomaly_alert` is not published."""
        return self.alert.metric if "alert" in self.publish else "flag"

    @property
    def detector_name(self) -> str:
        """Name of the detector."""
        return self.detector if isinstance(self.detector, str) else next(iter(self.detector))

    @property
    def detector_parameters(self) -> dict[str, Any]:
        """What the configuration sets of the detector's parameters."""
        return {} if isinstance(self.detector, str) else self.detector[self.detector_name]

    @property
    def time_zone(self) -> str:
        """Where hours of the day and of the week are counted: as the detector does, UTC where it counts none."""
        return str(self.detector_parameters.get("time_zone", "UTC"))

    @property
    def samples(self) -> int:
        """Samples that `window` spans."""
        return max(2, round(self.window / self.step))

    @property
    def withdraw_after(self) -> float:
        """Seconds after which scores are withdrawn."""
        return self.max_age if self.max_age is not None else max(5 * self.step, 60.0)


class JobDefaults(JobConfig):
    """Keys of a job, but for its query, for every job that does not set them itself."""

    @field_validator("detector", mode="before")
    @classmethod
    def _known_detector(cls, value: Any, info: ValidationInfo) -> Any:
        del info
        return value  # checked in every job that takes it over, with the window of that job

    def conflicts(self) -> Iterator[Conflict]:
        """Say what has no default. Whether keys go together is asked in every job."""
        for key in ("expr", "channels"):
            if getattr(self, key):
                yield (key,), "belongs to a job; what is in defaults is for all jobs"


# Every key of a job is in exactly one of these three (a test holds that): what a change of it costs follows from it.
DECIDING: Final = frozenset(
    {
        # From a score to an incident. Detectors score before any of these is looked at.
        "direction",
        "least_deviation",
        "valid_range",
        "open_after",
        "clear_after",
        "flap_limit",
        "flap_window",
        "max_hold",
        # From an incident to an alert. `false_alarms` also rescales the score, after the detector.
        "false_alarms",
        "budget",
        # Which days and hours are unlike others. What was learnt before stays learnt.
        "calendars",
        # What a deploy of its owner changes about a series' incidents.
        "deploys",
        # What is told of series that have ended, and of those that near a limit.
        "identity",
        "forecast",
        # What the page shows of a verdict, and for how long.
        "publish",
        "max_age",
        # How many series are read. Entities beyond it join or go as any other entity does; `limits.series`, which is
        # the same for every job, has always been exchanged in place.
        "max_series",
        # What watches the scores, and how numbers are written. Neither changes a verdict.
        "drift_detection",
        "unit",
    }
)
"""Keys of a job that are exchanged in place."""

LEARNING: Final = frozenset(
    {
        # Other samples, or other times of them: what was learnt is about something else.
        "expr",
        "channels",
        "rate",
        "step",
        # Other entities: the rows of all that is kept are theirs.
        "entity",
        # Groups have a history by their labels, and with shards they say which replica has an entity.
        "group",
        # Which replica has an entity.
        "shard_by",
        # Whom an entity is compared with: how it usually lies to its peers is learnt.
        "peers",
        # What the detector sees, and what it is.
        "window",
        "fill",
        "detector",
        # Late samples are seen with a longer lag and missed with a shorter one.
        "lag",
        # Whoever asks for another history wants the job to learn from it.
        "history",
    }
)
"""Keys of a job that make it begin with a fresh start."""

NEITHER: Final = frozenset({"alert"})
"""Keys of a job that only the generated rules read."""
