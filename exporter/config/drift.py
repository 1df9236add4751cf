"""How a job is watched for drift."""

from importlib.util import find_spec
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, model_validator

from exporter.config.section import Section

_SWITCH: TypeAdapter[bool] = TypeAdapter(bool)


class DriftConfig(Section):
    """When a lasting change of a job's scores calls for a new model."""

    method: Literal["adwin", "ddm", "off"] = Field("adwin", description="what decides; needs anomaly-exporter[river]")
    delta: float = Field(0.002, gt=0, lt=1, description="adwin: chance of an error in each test; less is more patient")
    threshold: float = Field(5.0, gt=0, description="ddm: standard deviations that are a change; more is more patient")

    @model_validator(mode="after")
    def _available(self) -> "DriftConfig":
        if self.method != "off":
            require_river()
        return self


def require_river() -> None:
    """Raise ValueError where river is not installed; river itself, seconds of start-up, is left to the jobs."""
    if find_spec("river") is None:
        raise ValueError(
            "needs the Python package river, which is not installed: pip install 'anomaly-exporter[river]'"
        )


def switched(value: Any) -> Any:
    """Return the settings that `true` and `false` stand for, and others as they are. Raises ValueError."""
    if value is None or isinstance(value, dict | DriftConfig):
        return value
    try:
        return {"method": "adwin" if _SWITCH.validate_python(value) else "off"}
    except ValidationError:
        raise ValueError("must be true, false, or keys such as {method: adwin}") from None


DriftDetection = Annotated[DriftConfig | None, BeforeValidator(switched)]
"""`true` is the default settings, `false` is off, None is what is said elsewhere."""


def drift_settings(job: DriftConfig | None, every: DriftConfig | None) -> DriftConfig | None:
    """Return how a job is watched, None for not at all; what it says itself goes before what is said for every job."""
    chosen = job or every
    return None if chosen is None or chosen.method == "off" else chosen
