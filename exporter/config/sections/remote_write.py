"""Where what we publish is written to, where nobody scrapes: `remote_write`."""

from pydantic import Field, PositiveInt, model_validator

from exporter.config.receivers.kind import Line
from exporter.config.section_base import ClassicName, require
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
            require(module, "push")
        return self
