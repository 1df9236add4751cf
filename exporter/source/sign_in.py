"""Who we are, where that takes more than a header: OAuth 2.0 client credentials, AWS's signatures, Google's tokens."""

import threading
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol

import requests
from requests.adapters import HTTPAdapter

from exporter.config.secrets import SecretUnavailable
from exporter.config.sections.source import GoogleConfig, OAuth2Config, PrometheusConfig, SigV4Config
from exporter.redact import mask
from exporter.source.errors import AccessDenied, Unreachable

EARLY: Final = 60.0
"""Seconds before a token expires at which another is fetched: a query may take some of them to arrive."""
_LASTING: Final = 300.0
"""Seconds for which a token is used whose server does not say how long it lives."""


class SignIn(Protocol):
    """Adds to a request what shows who we are. Called from several threads."""

    def show(self, request: requests.PreparedRequest) -> None:
        """Add the headers. Raises AccessDenied, Unreachable."""

    def forget(self) -> None:
        """Fetch a new token for the next request."""


def sign_in(config: PrometheusConfig, adapter: HTTPAdapter) -> SignIn | None:
    """Return what the configuration asks for, None for headers alone; `adapter` keeps the deadline of a request."""
    if config.oauth2 is not None:
        return OAuth2(config.oauth2, config.url, adapter)
    if config.sigv4 is not None:
        return SigV4(config.sigv4, config.url)
    if config.google is not None:
        return Google(config.google, config.url, adapter)
    return None


class _Session(requests.Session):
    """Takes nothing from the environment and follows no redirect with a secret."""

    def __init__(self, adapter: HTTPAdapter) -> None:
        super().__init__()
        self.trust_env = False
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002  # the signature is that of requests
        """Return no target."""
        return


class OAuth2:
    """A bearer token by client credentials (RFC 6749, section 4.4), kept until a minute before it expires."""

    def __init__(self, config: OAuth2Config, source: str, adapter: HTTPAdapter) -> None:
        self._config, self._source = config, source
        self._session = _Session(adapter)
        tls = config.tls
        self._session.verify = not tls.insecure_skip_verify and (str(tls.ca_file) if tls.ca_file else True)
        if tls.cert_file and tls.key_file:
            self._session.cert = (str(tls.cert_file), str(tls.key_file))
        self._lock = threading.Lock()
        self._token, self._until = "", 0.0

    def show(self, request: requests.PreparedRequest) -> None:
        """Add the token."""
        with self._lock:  # one fetch serves all who wait
            if time.monotonic() >= self._until:
                self._fetch()
            request.headers["Authorization"] = f"Bearer {self._token}"

    def forget(self) -> None:
        """Fetch a new token for the next request."""
        self._until = 0.0

    def _fetch(self) -> None:
        from oauthlib.oauth2 import BackendApplicationClient
        from oauthlib.oauth2.rfc6749.errors import OAuth2Error

        config = self._config
        client = BackendApplicationClient(config.client_id)
        body = client.prepare_request_body(scope=list(config.scopes) or None, **config.endpoint_params)
        form = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        where = f"{self._source} was not asked: prometheus.oauth2.token_url {config.token_url}"
        try:
            secret = config.client_secret.read()
            answer = self._session.post(config.token_url, data=body, headers=form, auth=(config.client_id, secret))
            if answer.status_code >= 500:
                raise Unreachable(f"{where} answers {answer.status_code}")
            if 300 <= answer.status_code < 400:
                raise AccessDenied(f"{where} redirects, which is not followed", "set the address it leads to")
            token = client.parse_request_body_response(answer.text)
        except SecretUnavailable as error:
            raise AccessDenied(f"{self._source} was not asked: {error}") from None
        except OAuth2Error as error:
            raise AccessDenied(
                f"{where} refuses: {error.error or 'no reason given'}", "check client_id, client_secret and scopes"
            ) from None
        except (requests.RequestException, OSError, ValueError) as error:
            raise Unreachable(f"{where} gives no token: {type(error).__name__}") from None
        lasts = _seconds(token)
        self._token = str(token["access_token"])
        mask(self._token)
        self._until = time.monotonic() + max(lasts - EARLY, lasts / 2)


def _seconds(token: Mapping[str, Any]) -> float:
    try:
        return max(float(token.get("expires_in", _LASTING)), 0.0)
    except (TypeError, ValueError):
        return _LASTING


class SigV4:
    """Requests signed with AWS Signature Version 4, by botocore, which also renews the credentials of roles."""

    def __init__(self, config: SigV4Config, source: str) -> None:
        self._config, self._source = config, source
        self._lock = threading.Lock()
        self._credentials: Any = None

    def show(self, request: requests.PreparedRequest) -> None:
        """Sign the request as it stands: method, address and body."""
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError, ClientError

        config = self._config
        # A proxy may change any other header, and a signature over it would then be wrong.
        signed = {name: str(value) for name, value in request.headers.items() if name.lower() == "content-type"}
        asked = AWSRequest(method=request.method, url=request.url, data=request.body, headers=signed)
        try:
            with self._lock:
                if self._credentials is None:
                    self._credentials = self._found()
                now = self._credentials.get_frozen_credentials()
            SigV4Auth(now, config.service, config.region).add_auth(asked)
        except SecretUnavailable as error:
            raise AccessDenied(f"{self._source} was not asked: {error}") from None
        except (BotoCoreError, ClientError, OSError) as error:
            raise AccessDenied(
                f"{self._source} was not asked: no credentials of AWS ({type(error).__name__})",
                "check prometheus.sigv4, or the role of this machine or pod",
            ) from None
        request.headers.update(dict(asked.headers.items()))

    def forget(self) -> None:
        """Look for credentials again."""
        with self._lock:
            self._credentials = None

    def _found(self) -> Any:
        from botocore.config import Config
        from botocore.credentials import (
            Credentials,
            DeferredRefreshableCredentials,
            create_assume_role_refresher,
        )
        from botocore.session import Session

        config = self._config
        session = Session(profile=config.profile)
        if config.access_key is not None and config.secret_key is not None:
            found: Any = Credentials(config.access_key, config.secret_key.read())
        else:
            found = session.get_credentials()
        if found is None:
            raise AccessDenied(
                f"{self._source} was not asked: no credentials of AWS were found",
                "give prometheus.sigv4.access_key and secret_key, a profile, or this machine or pod a role",
            )
        if config.role_arn is None:
            return found
        frozen = found.get_frozen_credentials()
        client = session.create_client(
            "sts",
            region_name=config.region,
            aws_access_key_id=frozen.access_key,
            aws_secret_access_key=frozen.secret_key,
            aws_session_token=frozen.token,
            config=Config(connect_timeout=5, read_timeout=5, retries={"max_attempts": 1}),
        )
        role = {"RoleArn": config.role_arn, "RoleSessionName": "anomaly-exporter"}
        return DeferredRefreshableCredentials(create_assume_role_refresher(client, role), "assume-role")


class Google:
    """A bearer token by google-auth: of a service account, or of where this runs."""

    def __init__(self, config: GoogleConfig, source: str, adapter: HTTPAdapter) -> None:
        self._config, self._source = config, source
        self._session = _Session(adapter)
        self._lock = threading.Lock()
        self._credentials: Any = None

    def show(self, request: requests.PreparedRequest) -> None:
        """Add the token."""
        from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
        from google.auth.transport.requests import Request

        try:
            with self._lock:
                if self._credentials is None:
                    self._credentials = self._found()
                if not self._credentials.valid:
                    self._credentials.refresh(Request(self._session))
                token = str(self._credentials.token)
        except DefaultCredentialsError as error:
            if self._config.credentials_file is not None:
                raise self._without_token(error) from None
            raise AccessDenied(
                f"{self._source} was not asked: no credentials of Google were found",
                "give prometheus.google.credentials_file, or this machine or pod a service account",
            ) from None
        except TransportError as error:
            raise Unreachable(f"{self._source} was not asked: Google gives no token ({_first(error)})") from None
        except (GoogleAuthError, OSError, ValueError) as error:
            raise self._without_token(error) from None
        mask(token)
        request.headers["Authorization"] = f"Bearer {token}"

    def forget(self) -> None:
        """Read the credentials again."""
        with self._lock:
            self._credentials = None

    def _without_token(self, error: Exception) -> AccessDenied:
        return AccessDenied(
            f"{self._source} was not asked: Google gives no token ({type(error).__name__})",
            "check prometheus.google.credentials_file and the rights of its account",
        )

    def _found(self) -> Any:
        import google.auth
        from google.oauth2 import service_account

        config = self._config
        if config.credentials_file is not None:
            return service_account.Credentials.from_service_account_file(  # type: ignore[no-untyped-call]
                str(config.credentials_file), scopes=list(config.scopes)
            )
        return google.auth.default(scopes=list(config.scopes))[0]


def _first(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
