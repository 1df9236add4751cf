"""`leader`: several exporters of the same jobs, of which one publishes and notifies."""

from collections.abc import Iterator

from pydantic import Field, model_validator

from exporter.config.secrets import FilePath
from exporter.config.section_base import Conflict, PositiveDuration, Section, require

SHORTEST_LEASE = 5.0
"""Seconds: a lease is renewed four times in its duration, and the client library waits a second between two tries."""


class LeaderConfig(Section):
    """Several exporters with the same configuration, of which one leads (docs/operating.md)."""

    file: FilePath | None = Field(
        None, description="file on a disk that all of them share, which the leader keeps locked"
    )
    lease: str | None = Field(
        None,
        pattern=r"^[a-z0-9]([a-z0-9.-]{0,200}[a-z0-9])?$",
        description="name of a Lease in Kubernetes, which the leader renews; with --shard the number of the shard is "
        "added",
    )
    namespace: str | None = Field(None, description="namespace of the Lease; default: that of the pod")
    duration: PositiveDuration = Field(
        15.0, ge=SHORTEST_LEASE, description="a leader that has not renewed its Lease for this long is replaced"
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys do not go together."""
        if (self.file is None) == (self.lease is None):
            yield ("file", "lease"), "give exactly one of file or lease"
        if self.namespace is not None and self.lease is None:
            yield ("namespace",), "belongs to a lease"

    @model_validator(mode="after")
    def _available(self) -> "LeaderConfig":
        if self.lease is not None:
            require("kubernetes", "kubernetes", needs="lease needs")
        return self
