"""What requests and urllib3 raise, told as our own errors."""

import ssl

from exporter.config.units import format_duration
from exporter.source.errors import BadAnswer, DeadlineExceeded, SourceError, Unreachable
from exporter.source.refusals import clean


def too_late(url: str, seconds: float) -> DeadlineExceeded:
    """Return the error for a query whose `seconds` are over."""
    return DeadlineExceeded(
        f"{url} gave no complete answer within {format_duration(seconds)}; make the query cheaper or raise"
        " prometheus.deadline"
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
    return Unreachable(f"{url} does not answer: {words(cause)}; is it running, and is prometheus.url right?")


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
