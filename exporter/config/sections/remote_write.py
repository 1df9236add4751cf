"""Where what we publish is written to, where nobody scrapes: `remote_write`."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from exporter.config.receivers.kind import Line
from exporter.config.section_base import ClassicName, Conflict, require
from exporter.config.sections.train import Endpoint
from exporter.config.values import Size


class RemoteWriteConfig(Endpoint):
    """Writes all that /metrics shows by Prometheus remote write, to one server or to each of a list."""

    name: Line | None = Field(None, description="name in our log and metrics; default: the host of `url`")
    version: Literal["auto", 1, 2] = Field(
        "auto", description="version of remote write; `auto`: 2.0, and 1.0 to a server that does not know it"
    )
    tenant: Line | None = Field(None, description="header X-Scope-OrgID, by which Mimir and Cortex tell tenants")
    labels: dict[ClassicName, str] = Field(
        {}, description="labels of every series that has them not itself, such as cluster"
    )
    instance: Line | None = Field(None, description="label instance of our own metrics; default: name of the machine")
    queue: Size = Field(64 * 2**20, gt=2**16, description="most memory of what could not be written yet")
    samples: PositiveInt = Field(2000, description="most samples in one request")

    @property
    def remote(self) -> str:
        """What it is called in the log and the metrics."""
        return self.name or urlsplit(self.url).netloc

    @model_validator(mode="after")
    def _available(self) -> "RemoteWriteConfig":
        for module in ("cramjam", "google.protobuf"):
            require(module, "push")
        return self


def one_or_more(value: Any) -> Any:
    """Return a list: of several sections, or of the only one."""
    return value if isinstance(value, list | tuple) else [value]


RemoteWrites = Annotated[tuple[RemoteWriteConfig, ...], BeforeValidator(one_or_more)]


def same_names(configs: Sequence[RemoteWriteConfig]) -> Iterator[Conflict]:
    """Say which servers would be one in the log and the metrics."""
    for name, count in Counter(each.remote for each in configs).items():
        if count > 1:
            yield ("remote_write",), f"{count} servers are called {name}: give each a `name` of its own"
