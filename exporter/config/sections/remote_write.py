"""Where what we publish is written to, where nobody scrapes: `remote_write`."""

from importlib.util import find_spec

from pydantic import Field, PositiveInt, model_validator

from exporter.config.receivers.kind import Line
from exporter.config.section_base import ClassicName
from exporter.config.sections.train import Endpoint
from exporter.config.values import Size


class RemoteWriteConfig(Endpoint):
    """Writes all that /metrics shows by Prometheus remote write 1.0."""

    tenant: Line | None = Field(None, description="header X-Scope-OrgID, by which Mimir and Cortex tell tenants")
    labels: dict[ClassicName, str] = Field(
        {}, description="labels of every series that has them not itself, such as cluster"
    )
    instance: Line | None = Field(None, description="label instance of our own metrics; default: name of the machine")
    queue: Size = Field(64 * 2**20, gt=2**16, description="most memory of what could not be written yet")
    samples: PositiveInt = Field(2000, description="most samples in one request")

    @model_validator(mode="after")
    def _available(self) -> "RemoteWriteConfig":
        for module in ("cramjam", "google.protobuf"):
            try:
                found = find_spec(module)  # found, not imported: that would take memory and time
            except ModuleNotFoundError:
                found = None
            if found is None:
                raise ValueError(
                    f"needs the Python package {module}, which is not installed: pip install 'anomaly-exporter[push]'"
                )
        return self
