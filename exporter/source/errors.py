"""What can go wrong between us and the source.

    SourceError
    ├── Unreachable      nothing answers: connection refused, reset, name not found, TLS refused
    ├── DeadlineExceeded the answer was not complete within the query's total deadline
    ├── AccessDenied     401, 403
    ├── QueryRejected    400, 422 and the like: the query itself is at fault, a retry will not help
    ├── LimitExceeded    the source's or our own limit on series, samples or bytes
    ├── Throttled        429, 503: the source asks to come back later
    ├── ServerFailed     other 5xx
    └── BadAnswer        HTML, truncated or wrong JSON, a redirect: not what Prometheus sends
"""

from typing import ClassVar


class SourceError(Exception):
    """A query got no usable answer.

    The message names the cause and what to do, and never holds a secret. `reason` is a closed set of label values.
    """

    reason: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False
    retries: int = 0
    """Further attempts made before giving up."""


class Unreachable(SourceError):
    """Nothing answers at the configured address."""

    reason = "unreachable"
    retryable = True


class DeadlineExceeded(SourceError):
    """The answer was not complete in time."""

    reason = "deadline"


class AccessDenied(SourceError):
    """The source refuses our credentials."""

    reason = "access_denied"


class QueryRejected(SourceError):
    """The source calls the query wrong."""

    reason = "query_rejected"


class LimitExceeded(SourceError):
    """A limit of the source, or one of ours, is exceeded."""

    reason = "limit_exceeded"


class Throttled(SourceError):
    """The source asks to come back later."""

    reason = "throttled"
    retryable = True

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds the source asked to wait, if it said so."""


class ServerFailed(SourceError):
    """The source failed inside."""

    reason = "server_failed"
    retryable = True


class BadAnswer(SourceError):
    """The answer is not what Prometheus sends."""

    reason = "bad_answer"
    retryable = True
