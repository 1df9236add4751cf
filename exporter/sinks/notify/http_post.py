"""One message to one address, with one deadline and no way around it: no redirects, no credentials of others."""

import json
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import requests
from pydantic import SecretStr
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from exporter import __version__
from exporter.config.secrets import Secret, SecretUnavailable
from exporter.redact import mask
from exporter.source.error_mapping import clean, retry_after, root_cause, words
from exporter.source.http_deadline import Adapter, deadline
from exporter.source.http_session import system_certificates

DEADLINE: Final = 10.0
"""Seconds for one message, whatever the receiver does."""
_READ: Final = 300
_RETRIED: Final = frozenset({408, 425, 429})
_UNWANTED: Final = frozenset({400, 413, 422})


class PostFailed(Exception):
    """The message did not arrive. The text names cause and remedy, never the address.

    Parameters
    ----------
    text : str
    lasting : bool
        Trying again soon will not help.
    unwanted : bool
        It is this message that the receiver refuses; another one may do.
    wait : float or None
        Seconds the receiver asks for.
    """

    def __init__(self, text: str, lasting: bool = False, unwanted: bool = False, wait: float | None = None) -> None:
        super().__init__(text)
        self.lasting, self.unwanted, self.wait = lasting, unwanted, wait


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002  # the signature is that of requests
        """Return no target: requests reads a redirect's body, however large, and prepares a request it never sends."""
        return


def post(address: Secret | SecretStr, message: Any, proxies: bool) -> None:
    """Post `message` as JSON to the address kept in a secret, which is read each time. Raises PostFailed.

    `proxies` honours HTTPS_PROXY, NO_PROXY and ~/.netrc.
    """
    url = _read(address)
    with deadline(DEADLINE), _Session() as session:
        session.trust_env = proxies
        for scheme in ("http://", "https://"):
            session.mount(scheme, Adapter(1))
        headers = {"Content-Type": "application/json", "User-Agent": f"anomaly-exporter/{__version__}"}
        try:
            response = session.post(
                url,
                json.dumps(msgspec.to_builtins(message)),
                headers=headers,
                timeout=DEADLINE,
                allow_redirects=False,
                stream=True,
                verify=system_certificates(),
            )
            with response:
                if 200 <= response.status_code < 300:
                    return
                answer = clean(response.raw.read(_READ, decode_content=True).decode(errors="replace"))
        except (RequestException, HTTPError, OSError) as error:
            cause = root_cause(error)
            late = isinstance(cause, TimeoutError)
            text = f"no answer within {DEADLINE:g}s" if late else words(cause)
            raise PostFailed(f"{urlsplit(url).hostname}: {text}") from None
    raise _refused(response, answer)


def _read(address: Secret | SecretStr) -> str:
    try:
        url = address.read() if isinstance(address, Secret) else address.get_secret_value()
    except SecretUnavailable as error:
        raise PostFailed(str(error), lasting=True) from None
    mask(url)
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and url.isprintable()
    except ValueError:
        usable = False
    if not usable:
        raise PostFailed("the secret is not an http:// or https:// address", lasting=True)
    return url


def _refused(response: requests.Response, answer: str) -> PostFailed:
    status = response.status_code
    text = f"{urlsplit(response.url).hostname} answers {status}{f': {answer}' if answer else ''}"
    if status in _RETRIED or status >= 500:
        return PostFailed(text, wait=retry_after(response.headers.get("Retry-After")))
    if 300 <= status < 400:
        return PostFailed(f"{text}; a redirect is not followed, set the final address", lasting=True)
    if status in _UNWANTED:
        return PostFailed(text, unwanted=True)
    return PostFailed(f"{text}; is the webhook still there?", lasting=True)
