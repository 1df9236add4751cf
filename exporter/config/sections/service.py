"""The running exporter: `web`, `audit`, `state`, `log` and `report`."""

import re
from collections.abc import Iterator
from ssl import PROTOCOL_TLS_SERVER, SSLContext, SSLError
from typing import Annotated, Final, Literal

from pydantic import (
    Field,
    field_validator,
    model_validator,
)

from exporter.config.secrets import FilePath, Secret
from exporter.config.section_base import Conflict, PositiveDuration, Section, SourceUrl, require
from exporter.config.values import Size

_HOST: Final = re.compile(r"[A-Za-z0-9._-]*|\[[0-9A-Fa-f:.%]+\]")
TLSVersion = Literal["TLS12", "TLS13"]
UserName = Annotated[str, Field(pattern=r"^[^:\x00-\x1f]+$")]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")]
HeaderValue = Annotated[str, Field(pattern=r"^[\x20-\x7e]*$")]


class WebTLS(Section):
    """TLS of the exporter's own port."""

    cert_file: FilePath = Field(description="certificate (PEM)")
    key_file: FilePath = Field(description="key (PEM)")
    client_ca_file: FilePath | None = Field(None, description="demand a client certificate signed by these")
    client_optional: bool = Field(False, description="check a client certificate, but demand none")
    min_version: TLSVersion = Field("TLS12", description="oldest version of TLS")
    max_version: TLSVersion = Field("TLS13", description="newest version of TLS")
    ciphers: tuple[str, ...] = Field(
        (), description="cipher suites of TLS 1.2, by their names in OpenSSL; default: those of Python"
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys do not go together."""
        if self.client_optional and self.client_ca_file is None:
            yield ("client_optional",), "needs client_ca_file, by which certificates are checked"
        if self.min_version > self.max_version:
            yield ("min_version", "max_version"), "the oldest version is newer than the newest one"
        try:
            SSLContext(PROTOCOL_TLS_SERVER).set_ciphers(":".join(self.ciphers) or "DEFAULT")
        except SSLError:
            yield ("ciphers",), "OpenSSL knows none of them"


class WebConfig(Section):
    """The exporter's own port."""

    listen: str = Field("0.0.0.0:9877", description="address and port of our page")
    tls: WebTLS | None = Field(None, description="serve HTTPS")
    users: dict[UserName, Secret] = Field(
        {}, description="basic authentication: user name to a bcrypt hash, by reference"
    )
    config_file: FilePath | None = Field(
        None, description="the web.yml of other exporters, with TLS, users and headers of our port"
    )
    headers: dict[HeaderName, HeaderValue] = Field({}, description="further headers of every answer")
    enable_reload: bool = Field(False, description="allow POST /-/reload and /-/accept; SIGHUP always works")
    ui: bool = Field(True, description="show the pages for people: what is wrong now, series, past incidents, status")
    actions: bool | None = Field(
        None,
        description="let people answer incidents on the pages and the API; default: where `users` are set up or client "
        "certificates are demanded",
    )
    external_url: SourceUrl | None = Field(
        None, description="address under which people reach our pages, for links in messages; default: host and port"
    )
    workbench: bool | None = Field(
        None,
        description="let people try jobs on the past, which sends queries to the source for them; default: only where "
        "users or tls.client_ca_file ask who they are",
    )
    max_connections: int = Field(512, ge=8, description="connections open at once")

    @property
    def may_act(self) -> bool:
        """Whether people may answer incidents: everybody who reaches the port, or whoever shows who they are."""
        return self.ui and (self._asks_who if self.actions is None else self.actions)

    @property
    def offers_workbench(self) -> bool:
        """Whether people may try jobs on the past."""
        return self.ui and (self._asks_who if self.workbench is None else self.workbench)

    @property
    def _asks_who(self) -> bool:
        certificates = self.tls is not None and self.tls.client_ca_file is not None and not self.tls.client_optional
        return bool(self.users) or certificates

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys do not go together."""
        given = [key for key in ("tls", "users", "headers") if getattr(self, key)]
        if self.config_file is not None and given:
            yield ("config_file", *given), f"sets {', '.join(given)} too: leave them out here, or config_file"

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, listen: str) -> str:
        host, colon, port = listen.rpartition(":")
        if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65_535 or not _HOST.fullmatch(host):
            raise ValueError("must be ADDRESS:PORT, such as 0.0.0.0:9877, 127.0.0.1:9877 or [::]:9877")
        return listen


class AuditConfig(Section):
    """The CSV audit file."""

    path: FilePath = Field(description="CSV file; a lock file and rotated files are next to it")
    all_samples: bool = Field(False, description="write every sample, not only flag changes and flagged samples")
    max_size: Size = Field(64 * 2**20, gt=4096, description="rotate at this size")
    keep: int = Field(5, ge=0, description="rotated files kept")


class StateConfig(Section):
    """What jobs keep over a restart."""

    path: FilePath = Field(description="folder for what the jobs have learnt and which incidents are open")
    every: PositiveDuration = Field(300.0, description="how often it is saved; also at every stop")
    shared: FilePath | None = Field(
        None,
        description="with --shard: a folder that all replicas share, for what the jobs have learnt; when their number "
        "changes, each finds there the series that are its own now",
    )


class LogConfig(Section):
    """The exporter's log."""

    format: Literal["auto", "json", "console"] = Field(
        "auto", description="one JSON object a line, or text for people; auto: text on a terminal, else JSON"
    )
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level written")


class ReportConfig(Section):
    """A report on every week or month (UTC), soon after it has ended (docs/reports.md)."""

    path: FilePath = Field(description="folder of the HTML files; made when it is not there")
    schedule: Literal["weekly", "monthly"] = Field(
        "weekly", description="weekly: from Monday to Monday; monthly: calendar months"
    )
    keep: int = Field(26, ge=1, description="reports kept")

    @model_validator(mode="after")
    def _available(self) -> "ReportConfig":
        require("matplotlib", "plot")
        return self
