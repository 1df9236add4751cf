"""What went wrong between us and the source, as a `SourceError`: refusals by HTTP status, failures of the network."""

import ssl
from collections.abc import Iterable
from http.client import responses
from typing import Final
from urllib.parse import urlsplit

import msgspec
from urllib3.util import Retry

from exporter.promql import format_duration
from exporter.source.errors import (
    AccessDenied,
    BadAnswer,
    DeadlineExceeded,
    LimitExceeded,
    ServerFailed,
    SourceError,
    Throttled,
    Unreachable,
)
from exporter.source.refusals import by_kind, recognised

_LONGEST: Final = 300


class _Error(msgspec.Struct):
    error: str
    status: str = ""
    errorType: str = ""  # noqa: N815  # the name in the JSON


def clean(text: str) -> str:
    """Make a server's text fit for one line of a log: printable, no runs of white space, at most 300 characters."""
    text = " ".join("".join(char if char.isprintable() else " " for char in text[: 8 * _LONGEST]).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def rejected(kind: str, text: str) -> SourceError:
    """Return the error for a query that the source refused with its own words.

    Parameters
    ----------
    kind : str
        Prometheus' `errorType`, "" if the source gave none.
    text : str
        Its message.
    """
    shown = clean(text)
    return recognised(text, shown) or by_kind(kind, shown)


def refusal(  # noqa: PLR0911  # a table: one return per group of statuses
    status: int, headers: dict[str, str], body: bytes, url: str, secrets: Iterable[str] = ()
) -> SourceError:
    """Return the error that an answer with a status other than 200 stands for.

    Parameters
    ----------
    status : int
    headers : dict
        Names in lower case.
    body : bytes
        The beginning of the body is enough.
    url : str
        `prometheus.url`, for the message.
    secrets : iterable of str
        What must not appear in the message even if the server repeats it.
    """
    kind, text, from_engine = _words(body)
    for secret in secrets:
        text = text.replace(secret, "***")
    page = text.lstrip().startswith("<")  # of a proxy; its words are looked at, and not shown
    shown = "" if page else clean(text)
    said = f": {shown}" if shown else ""
    name = f"{status} {responses.get(status, '')}".strip()
    if 300 <= status < 400:
        location = clean(headers.get("location", ""))
        for secret in secrets:
            location = location.replace(secret, "***")
        return BadAnswer(
            f"{url} redirects to {_host(location) or 'another path'}, which is not followed",
            "set prometheus.url to the final address",
            retryable=False,
            shorter_helps=False,
        )
    if status in {401, 403, 407}:
        return AccessDenied(f"{url} refuses our credentials ({name}){said}", "check basic_auth, bearer and headers")
    known = recognised(text, shown or name)
    if status == 503 and (kind == "timeout" or isinstance(known, LimitExceeded)):
        return known or by_kind(kind, shown)
    if status in {429, 503}:
        wait = retry_after(headers.get("retry-after"))
        return Throttled(
            f"{url} asks to come back later ({name}){said}", wait, shorter_helps=status == 503 and wait is None
        )
    gave_up = status in {408, 502, 504} and not from_engine
    if isinstance(known, LimitExceeded | AccessDenied | Unreachable) and not gave_up:
        return known
    if status == 408 or status >= 500:
        advice = "what stands before the source gave up waiting: raise its time limit, or make the query cheaper"
        return ServerFailed(f"{url} failed ({name}){said}", advice if status in {408, 504} else "")
    if status in {404, 405} or isinstance(known, BadAnswer):
        return BadAnswer(f"{url} has no query API ({name}){said}", _PREFIX, retryable=False, shorter_helps=False)
    if status in {413, 414}:
        return LimitExceeded(
            f"the query is too long for the source, or its answer ({name}){said}",
            "shorten it, use a recording rule, or raise the limit of what stands before the source",
        )
    if status >= 400:
        return known or (by_kind(kind, shown) if from_engine else _not_by_the_engine(url, name, said))
    return BadAnswer(f"{url} answers {name}, which Prometheus never does", "check prometheus.url")


_PREFIX: Final = "check the path prefix in prometheus.url"


def _not_by_the_engine(url: str, name: str, said: str) -> SourceError:
    """Return the error for a refusal in another form than that of Prometheus' query API."""
    return BadAnswer(
        f"{url} refuses the request ({name}){said}",
        "this did not come from a query engine: check prometheus.url, and what stands between",
        retryable=False,
    )


def _words(body: bytes) -> tuple[str, str, bool]:
    """Return `errorType`, what was said, and whether a query engine said it."""
    try:
        error = msgspec.json.decode(body, type=_Error)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return "", body.decode(errors="replace"), body.startswith((b'{"status":"error"', b'{"error":'))  # cut off
    return error.errorType, error.error, error.status == "error"


def retry_after(header: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for, None when it asks for nothing that can be read."""
    if header is None:
        return None
    try:
        return max(Retry().parse_retry_after(header), 0.0)
    except Exception:  # a date that cannot be read is none; urllib3 lets through whatever email.utils raises
        return None


def too_late(url: str, seconds: float) -> DeadlineExceeded:
    """Return the error for a query whose `seconds` are over."""
    return DeadlineExceeded(
        f"{url} gave no complete answer within {format_duration(seconds)}",
        "make the query cheaper or raise prometheus.deadline",
    )


def no_answer(url: str, seconds: float, error: Exception) -> SourceError:
    """Return the error for a failure before the answer began. `seconds` is the deadline, for the message."""
    cause = root_cause(error)
    if isinstance(cause, TimeoutError):
        return too_late(url, seconds)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Unreachable(
            f"{url}: its certificate is refused: {cause.verify_message}; check prometheus.tls", retryable=False
        )
    if isinstance(cause, ssl.SSLError):
        return Unreachable(f"{url}: no TLS connection: {words(cause)}; check http or https and prometheus.tls")
    if isinstance(cause, FileNotFoundError | PermissionError) or "TLS" in str(cause):
        return Unreachable(f"{url} was not asked: {words(cause)}; check prometheus.tls", retryable=False)
    return Unreachable(
        f"{url} does not answer: {words(cause)}",
        "is it running, and is prometheus.url right?",
        shorter_helps=isinstance(cause, ConnectionResetError | BrokenPipeError),  # it was there, and hung up
    )


def cut_off(url: str, seconds: float, error: Exception) -> SourceError:
    """Return the error for a failure within the body. `seconds` is the deadline, for the message."""
    cause = root_cause(error)
    if isinstance(cause, TimeoutError):
        return too_late(url, seconds)
    return BadAnswer(f"{url} cut its answer off, or it was damaged on the way: {words(cause)}")


def root_cause(error: BaseException) -> BaseException:
    """Return the innermost of the exceptions that wrap each other."""
    seen = [error]
    while True:
        error = seen[-1]
        inner = [*error.args, getattr(error, "reason", None), error.__cause__, error.__context__]
        cause = next((e for e in inner if isinstance(e, BaseException) and e not in seen), None)
        if cause is None:
            return error
        seen.append(cause)


def words(error: BaseException) -> str:
    """Return what an error says, fit for one line of a log."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return clean(str(text))


def _host(location: str) -> str:
    """Return the host and port of an address that somebody else has written, "" where there is none."""
    try:
        return urlsplit(location).netloc.rpartition("@")[2]
    except ValueError:  # such as https://[::1
        return ""
