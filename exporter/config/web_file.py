"""The `web.yml` of other exporters (exporter-toolkit), taken as it is: TLS, users and headers of our own port.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field

from exporter.config.errors import ConfigError
from exporter.config.read_file import read
from exporter.config.secrets import FilePath, UserOfFile
from exporter.config.section_base import Conflict, Section
from exporter.config.sections.service import HeaderValue, UserName, WebConfig, WebTLS
from exporter.config.validation import validate


def _bcrypt(text: str) -> str:
    if not text.startswith(("$2a$", "$2b$", "$2y$")):
        raise ValueError("is not a bcrypt hash; make one with: htpasswd -nBC 12 ''")
    return text


Hash = Annotated[str, AfterValidator(_bcrypt)]
ClientAuth = Literal[
    "NoClientCert",
    "RequestClientCert",
    "RequireAnyClientCert",
    "RequireClientCert",
    "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
]
_UNCHECKED: Final = ("RequestClientCert", "RequireAnyClientCert", "RequireClientCert")
_CIPHERS: Final = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
}
"""Cipher suites of TLS 1.2 that Go offers, by their names there."""
_CIPHERS_13: Final = frozenset({"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"})
"""Those of TLS 1.3, which neither Go nor Python lets anybody choose."""


class TLSServerConfig(Section):
    """`tls_server_config`."""

    cert_file: FilePath | None = None
    key_file: FilePath | None = None
    cert: str | None = Field(None, repr=False)
    key: str | None = Field(None, repr=False)
    client_auth_type: ClientAuth = "NoClientCert"
    client_ca_file: FilePath | None = None
    client_ca: str | None = None
    client_allowed_sans: tuple[str, ...] = ()
    min_version: Literal["TLS10", "TLS11", "TLS12", "TLS13"] = "TLS12"
    max_version: Literal["TLS10", "TLS11", "TLS12", "TLS13"] = "TLS13"
    cipher_suites: tuple[str, ...] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[Literal["CurveP256", "CurveP384", "CurveP521", "X25519", "X25519MLKEM768"], ...] = ()

    def conflicts(self) -> Iterator[Conflict]:
        """Say what is wrong, and what we cannot do."""
        for text, file in (("cert", "cert_file"), ("key", "key_file"), ("client_ca", "client_ca_file")):
            if getattr(self, text) is not None:
                yield (text,), f"is not supported here: write it into a file, and name that in {file}"
        for name in ("cert_file", "key_file"):
            if getattr(self, name) is None and getattr(self, name.removesuffix("_file")) is None:
                yield (name,), f"{name} is missing: TLS needs a certificate and its key"
        if self.client_auth_type in _UNCHECKED:
            yield (
                ("client_auth_type",),
                f"{self.client_auth_type} is not supported here, since it takes any certificate unchecked: use "
                "RequireAndVerifyClientCert",
            )
        if self.client_ca_file is not None and self.client_auth_type == "NoClientCert":
            yield (
                ("client_auth_type",),
                "client_ca_file needs client_auth_type: RequireAndVerifyClientCert",
            )
        if self.client_ca_file is None and self.client_auth_type.startswith(("Verify", "RequireAndVerify")):
            yield (
                ("client_auth_type",),
                f"{self.client_auth_type} needs client_ca_file",
            )
        if self.client_allowed_sans:
            yield (
                ("client_allowed_sans",),
                "is not supported here: give the clients a CA of their own in client_ca_file, and leave this out",
            )
        for key in ("min_version", "max_version"):
            if getattr(self, key) in {"TLS10", "TLS11"}:
                yield (key,), f"{getattr(self, key)} is not supported here: TLS12 is the oldest that is safe"
        if self.min_version > self.max_version:
            yield ("min_version", "max_version"), "the oldest version is newer than the newest one"
        if unknown := [name for name in self.cipher_suites if name not in _CIPHERS and name not in _CIPHERS_13]:
            yield ("cipher_suites",), f"{', '.join(unknown)}: unknown, or not safe; known are {', '.join(_CIPHERS)}"


class Headers(Section):
    """`headers`: those that exporter-toolkit knows."""

    model_config = ConfigDict(populate_by_name=False)

    content_security_policy: HeaderValue = Field("", alias="Content-Security-Policy")
    frame_options: HeaderValue = Field("", alias="X-Frame-Options")
    content_type_options: Literal["", "nosniff"] = Field("", alias="X-Content-Type-Options")
    xss_protection: HeaderValue = Field("", alias="X-XSS-Protection")
    strict_transport_security: HeaderValue = Field("", alias="Strict-Transport-Security")


class HTTPServerConfig(Section):
    """`http_server_config`."""

    http2: bool = True
    headers: Headers = Headers()


class WebFile(Section):
    """The whole file."""

    tls_server_config: TLSServerConfig | None = None
    http_server_config: HTTPServerConfig = HTTPServerConfig()
    basic_auth_users: dict[UserName, Hash] = Field({}, repr=False)
    rate_limit: dict[str, Any] | None = None

    def conflicts(self) -> Iterator[Conflict]:
        """Say what we cannot do."""
        if self.rate_limit is not None:
            yield ("rate_limit",), "is not supported here: leave it out, and set max_connections of our own web section"


def with_web_file(config: WebConfig, path: Path) -> tuple[WebConfig, tuple[str, ...]]:
    """Return `config` with what the file says of our port, and notes on what has no effect. Raises ConfigError.

    Paths in the file are relative to its folder, as in exporter-toolkit.
    """
    root, mistakes = read(path, may_be_empty=True)
    if mistakes:
        raise ConfigError(*mistakes)
    found = validate(root, WebFile)
    assert isinstance(found, WebFile)
    tls, server = found.tls_server_config, found.http_server_config
    headers = {name: text for name, text in server.headers.model_dump(by_alias=True).items() if text}
    update = {
        "users": {name: UserOfFile(file=path, user=name) for name in found.basic_auth_users},
        "headers": headers,
        "tls": None if tls is None else _tls(tls, path.parent),
    }
    notes = []
    if "http2" in server.model_fields_set and server.http2:
        notes.append(f"{path}: http_server_config.http2 has no effect: our port speaks HTTP/1.1, which all clients do")
    if tls is not None and tls.curve_preferences:
        notes.append(
            f"{path}: tls_server_config.curve_preferences has no effect: OpenSSL chooses among its safe curves"
        )
    return config.model_copy(update=update), tuple(notes)


def _tls(found: TLSServerConfig, folder: Path) -> WebTLS:
    assert found.cert_file is not None
    assert found.key_file is not None
    return WebTLS(
        cert_file=folder / found.cert_file,
        key_file=folder / found.key_file,
        client_ca_file=None if found.client_ca_file is None else folder / found.client_ca_file,
        client_optional=found.client_auth_type == "VerifyClientCertIfGiven",
        min_version="TLS13" if found.min_version == "TLS13" else "TLS12",
        max_version="TLS13" if found.max_version == "TLS13" else "TLS12",
        ciphers=tuple(dict.fromkeys(_CIPHERS[name] for name in found.cipher_suites if name in _CIPHERS)),
    )
