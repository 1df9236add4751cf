"""One message to one address, with one deadline and no way around it: no redirects, no credentials of others."""

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
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
    status : int
        What it answered with; 0 without an answer.
    """

    def __init__(
        self,
        text: str,
        lasting: bool = False,
        unwanted: bool = False,
        wait: float | None = None,
        status: int = 0,
    ) -> None:
        super().__init__(text)
        self.lasting, self.unwanted, self.wait, self.status = lasting, unwanted, wait, status


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002  # the signature is that of requests
        """Return no target: requests reads a redirect's body, however large, and prepares a request it never sends."""
        return


class Answer(NamedTuple):
    """What came back: the status, its header fields, and the beginning of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def post(address: Secret | SecretStr, message: Any, proxies: bool) -> None:
    """Post `message` as JSON to the address kept in a secret, which is read each time. Raises PostFailed.

    `proxies` honours HTTPS_PROXY, NO_PROXY and ~/.netrc.
    """
    url = _read(address)
    headers = {"Content-Type": "application/json"}
    answer = exchange(url, json.dumps(msgspec.to_builtins(message)).encode(), headers, proxies)
    if not 200 <= answer.status < 300:
        raise refused(url, answer, "is the webhook still there?")


def exchange(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    proxies: bool,
    most: int = 0,
    seconds: float = DEADLINE,
    verify: str | None = None,
) -> Answer:
    """Post `body` and return the answer, with `most` bytes of it where it is a 2xx. Raises PostFailed without one.

    It takes `seconds` at most. `verify` is a file of certificate authorities, None: those of the system.
    """
    with deadline(seconds), _Session() as session:
        session.trust_env = proxies
        for scheme in ("http://", "https://"):
            session.mount(scheme, Adapter(1))
        try:
            response = session.post(
                url,
                body,
                headers={"User-Agent": f"anomaly-exporter/{__version__}", **headers},
                timeout=seconds,
                allow_redirects=False,
                stream=True,
                verify=verify or system_certificates(),
            )
            with response:
                wanted = most if 200 <= response.status_code < 300 else max(most, _READ)
                read = response.raw.read(wanted, decode_content=True) if wanted else b""
                return Answer(response.status_code, response.headers, read)
        except (RequestException, HTTPError, OSError) as error:
            cause = root_cause(error)
            late = isinstance(cause, TimeoutError)
            text = f"no answer within {seconds:g}s" if late else words(cause)
            raise PostFailed(f"{urlsplit(url).hostname}: {text}") from None


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


def refused(url: str, answer: Answer, advice: str) -> PostFailed:
    """Return the failure that a status other than 2xx stands for; `advice` is for those that will not pass."""
    status, said = answer.status, clean(answer.body[:_READ].decode(errors="replace"))
    text = f"{urlsplit(url).hostname} answers {status}{f': {said}' if said else ''}"
    if status in _RETRIED or status >= 500:
        return PostFailed(text, wait=retry_after(answer.headers.get("Retry-After")), status=status)
    if 300 <= status < 400:
        return PostFailed(f"{text}; a redirect is not followed, set the final address", lasting=True)
    if status in _UNWANTED:
        return PostFailed(text, unwanted=True, status=status)
    return PostFailed(f"{text}; {advice}", lasting=True)
