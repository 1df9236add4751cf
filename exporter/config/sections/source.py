"""Where the samples come from: `prometheus` and `limits`."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import (
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from exporter.config.secrets import SENSITIVE, FilePath, Secret
from exporter.config.section_base import Conflict, PositiveDuration, Section, SourceUrl, require
from exporter.config.values import Size


def _form(value: object) -> str:
    return "reference" if isinstance(value, dict | Secret) else "text"


HeaderName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
TextOrSecret = Annotated[Annotated[str, Tag("text")] | Annotated[Secret, Tag("reference")], Discriminator(_form)]


class ClientTLS(Section):
    """How the source's certificate is checked, and ours shown."""

    ca_file: FilePath | None = Field(
        None, description="certificate authorities to check the source with; default: the system's"
    )
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


class OAuth2Config(Section):
    """A token by OAuth 2.0 client credentials, fetched again before it expires."""

    client_id: str = Field(description="client id")
    client_secret: Secret = Field(description="client secret, by reference")
    token_url: SourceUrl = Field(description="address that hands out tokens")
    scopes: tuple[str, ...] = Field((), description="scopes to ask for")
    endpoint_params: dict[str, str] = Field({}, description="further parameters of the request, such as audience")
    tls: ClientTLS = Field(ClientTLS(), description="certificates for token_url")

    @model_validator(mode="after")
    def _available(self) -> "OAuth2Config":
        require("oauthlib", "oauth2")
        return self


class SigV4Config(Section):
    """Requests signed for AWS, such as Amazon Managed Service for Prometheus."""

    region: str = Field(min_length=1, description="region, such as eu-central-1")
    service: str = Field("aps", min_length=1, description="name of the service in signatures")
    access_key: str | None = Field(
        None, description="access key; default: AWS's own chain, such as the role of the pod"
    )
    secret_key: Secret | None = Field(None, description="secret key of access_key, by reference")
    profile: str | None = Field(None, description="profile of AWS's own configuration files")
    role_arn: str | None = Field(None, description="role to assume")

    def conflicts(self) -> Iterator[Conflict]:
        """Say which keys do not go together."""
        if (self.access_key is None) != (self.secret_key is None):
            yield ("access_key", "secret_key"), "access_key and secret_key go together"
        if self.access_key is not None and self.profile is not None:
            yield ("access_key", "profile"), "access_key and profile exclude each other"

    @model_validator(mode="after")
    def _available(self) -> "SigV4Config":
        require("botocore", "aws")
        return self


class GoogleConfig(Section):
    """A token of Google, such as for Managed Service for Prometheus."""

    credentials_file: FilePath | None = Field(
        None, description="JSON of a service account; default: Google's own chain, such as workload identity"
    )
    scopes: tuple[str, ...] = Field(
        ("https://www.googleapis.com/auth/monitoring.read",), min_length=1, description="scopes to ask for"
    )

    @model_validator(mode="after")
    def _available(self) -> "GoogleConfig":
        require("google.auth", "gcp", "google-auth")
        return self


class PrometheusConfig(Section):
    """Where the samples come from: Prometheus, Thanos, Mimir or VictoriaMetrics."""

    url: SourceUrl = Field("http://localhost:9090", description="base address, with the path prefix if there is one")
    deadline: PositiveDuration = Field(20.0, description="total time for one query, retries included")
    retries: int = Field(2, ge=0, le=10, description="further attempts after a failure that may pass")
    concurrency: int = Field(4, ge=1, le=64, description="queries under way at once, over all jobs")
    history_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="share of the time in which warm-ups may have a query under way: one at a time, over all jobs, "
        "and pauses as soon as they took more than half a minute",
    )
    basic_auth: BasicAuth | None = Field(None, description="HTTP basic authentication")
    bearer: Secret | None = Field(None, description="bearer token, by reference; read again for every query")
    oauth2: OAuth2Config | None = Field(None, description="token by OAuth 2.0 client credentials")
    sigv4: SigV4Config | None = Field(None, description="requests signed for AWS")
    google: GoogleConfig | None = Field(None, description="token of Google")
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
        given = [name for name in ("basic_auth", "bearer", "oauth2", "sigv4", "google") if getattr(self, name)]
        if len(given) > 1:
            yield tuple(given), f"{' and '.join(given)} exclude each other"


class LimitsConfig(Section):
    """What one query may bring in; the rest is dropped and counted."""

    series: int = Field(10_000, ge=1, description="series per query")
    samples: int = Field(50_000_000, ge=1, description="samples per query")
