"""What can go wrong between us and the source.

    SourceError
    ├── Unreachable      nothing answers: connection refused, reset, name not found, TLS refused
    ├── DeadlineExceeded the answer was not complete within the query's total deadline
    ├── AccessDenied     401, 403, or our own credentials cannot be read
    ├── QueryRejected    400, 422 and the like: the query itself is at fault, a retry will not help
    │   └── NoNumbers    native histograms only
    ├── LimitExceeded    the source's or our own limit on series, samples, time or bytes
    ├── Throttled        429, 503: the source asks to come back later
    ├── ServerFailed     other 5xx
    └── BadAnswer        HTML, truncated or wrong JSON, a redirect: not what Prometheus sends

`retryable` says whether the same query may pass a moment later, `shorter_helps` whether it may for a shorter range.
"""

from typing import ClassVar


class SourceError(Exception):
    """A query got no usable answer.

    The message names the cause and what to do, and never holds a secret. `reason` is a closed set of label values.

    Parameters
    ----------
    message : str
        What happened, for someone at 3 a.m.
    advice : str
        What to do about it; "" where the message says it.
    retryable, shorter_helps : bool, optional
        Override the class where one cause is known to be different.
    """

    reason: ClassVar[str] = "error"
    retryable: bool = False
    shorter_helps: bool = False
    retries: int = 0
    """Further attempts made before giving up."""

    def __init__(
        self, message: str, advice: str = "", *, retryable: bool | None = None, shorter_helps: bool | None = None
    ) -> None:
        super().__init__(f"{message}; {advice}" if advice else message)
        self.what = message
        """What happened, without the advice."""
        if retryable is not None:
            self.retryable = retryable
        if shorter_helps is not None:
            self.shorter_helps = shorter_helps


class Unreachable(SourceError):
    """Nothing answers at the configured address."""

    reason = "unreachable"
    retryable = True


class DeadlineExceeded(SourceError):
    """The answer was not complete in time."""

    reason = "deadline"
    shorter_helps = True


class AccessDenied(SourceError):
    """The source refuses our credentials, or they cannot be read."""

    reason = "access_denied"


class QueryRejected(SourceError):
    """The source calls the query wrong."""

    reason = "query_rejected"
    shorter_helps = True


class NoNumbers(QueryRejected):
    """The query is answered with native histograms only, which are no numbers to judge."""

    shorter_helps = False


class LimitExceeded(SourceError):
    """A limit of the source, or one of ours, is exceeded."""

    reason = "limit_exceeded"
    shorter_helps = True


class TooManyPoints(LimitExceeded):
    """The source accepts fewer points per series in one query; a shorter range will pass."""

    def __init__(self, message: str, points: int, advice: str = "") -> None:
        super().__init__(message, advice)
        self.points = points
        """Points per series the source accepts."""


class Throttled(SourceError):
    """The source asks to come back later."""

    reason = "throttled"
    retryable = True

    def __init__(self, message: str, retry_after: float | None = None, *, shorter_helps: bool | None = None) -> None:
        super().__init__(message, shorter_helps=shorter_helps)
        self.retry_after = retry_after
        """Seconds the source asked to wait, if it said so."""


class ServerFailed(SourceError):
    """The source failed inside."""

    reason = "server_failed"
    retryable = True
    shorter_helps = True


class BadAnswer(SourceError):
    """The answer is not what Prometheus sends."""

    reason = "bad_answer"
    retryable = True
    shorter_helps = True
