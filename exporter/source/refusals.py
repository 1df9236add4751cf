"""What the words of a refusal mean: a table of the texts that real servers write.

The first row whose pattern is found in the text decides. A row names the kind of error and what to do about it; a limit
is named by the flag or setting of the server that holds it, as the text itself tells it where it does.
"""

import re
from collections.abc import Callable
from typing import Final

from exporter.source.errors import (
    AccessDenied,
    BadAnswer,
    LimitExceeded,
    QueryRejected,
    ServerFailed,
    SourceError,
    TooManyPoints,
    Unreachable,
)

_POINTS: Final = re.compile(
    r"maximum resolution of (\d[\d,]{0,14}) points|maximum number of points is (\d[\d,]{0,14})", re.I
)
_FLAG: Final = re.compile(r"(?<![\w-])-{1,2}[a-z][a-zA-Z0-9]*(?:[.-][a-zA-Z0-9]+)+")
"""A flag of a server, such as -search.maxSamplesPerQuery or -querier.max-fetched-series-per-query."""

Make = Callable[[str, str], SourceError]


def _limit(text: str, advice: str) -> SourceError:
    return LimitExceeded(f"a limit of the source is exceeded: {text}", advice)


def _timeout(text: str, advice: str) -> SourceError:
    return LimitExceeded(f"the source gave up on the query: {text}", advice)


def _failed(text: str, advice: str) -> SourceError:
    return ServerFailed(f"the source failed: {text}", advice)


def _path(text: str, advice: str) -> SourceError:
    return BadAnswer(f"the source has no query API at this address: {text}", advice, retryable=False)


def _scheme(text: str, advice: str) -> SourceError:
    return Unreachable(f"the source expects https: {text}", advice, retryable=False)


def _tenant(text: str, advice: str) -> SourceError:
    return AccessDenied(f"the source refuses the tenant: {text}", advice)


def _rejected(text: str, advice: str) -> SourceError:
    return QueryRejected(f"the source rejects the query: {text}", advice)


_POINTS_KEY: Final = "set prometheus.max_points to what it accepts"
_NARROW: Final = "narrow the query"
_CHEAPER: Final = "make it cheaper, use a recording rule"
_CORRECT: Final = "correct its expression"

ROWS: Final[tuple[tuple[str, Make, str, str], ...]] = (
    # The query itself, whatever it quotes.
    (r"\bparse error\b|invalid (parameter|expression)|unknown function|duplicate series|many-to-many|multiple matches"
     r"|unique on one side|same labelset", _rejected, _CORRECT, ""),
    (r"query.?blocked|blocked by the cluster admin", _rejected, "ask whoever runs the source why it is blocked", ""),
    # The address: said by routers and proxies, never by a query engine.
    (r"HTTP request (was sent )?to an? (HTTPS|SSL|TLS)|plain HTTP (request was sent )?to (an )?(HTTPS|SSL|TLS)"
     r"|requires TLS", _scheme, "write https:// in prometheus.url", ""),
    (r"unsupported (url )?path|missing -http\.pathPrefix|missing route for|cannot parse (accountID|projectID)"
     r"|no route matched|page not found", _path, "check the path prefix in prometheus.url", ""),
    (r"no org id|(multiple|invalid) org id|^tenant ID|X-Scope-OrgID|(invalid|unknown|multiple) tenant", _tenant,
     "check basic_auth, bearer and headers, X-Scope-OrgID among them", ""),
    # Prometheus, Thanos
    (r"too many samples", _limit, _NARROW, "--query.max-samples of Prometheus"),
    (r"exceeded sample limit", _limit, _NARROW, "--storage.remote.read-sample-limit of the server behind the source"),
    (r"(series|samples|chunks|bytes) limit: limit|limit \d+ violated", _limit, _NARROW,
     "--store.limits.request-series and --store.limits.request-samples of Thanos"),
    (r"message larger than max", _limit, _NARROW, "the largest gRPC message of the source"),
    # Cortex, Mimir
    (r"query length.*limit|time range exceeds|max-(total-|partial-)?query-length", _limit,
     "shorten the range in the query and `history`", "max_query_length of the source"),
    (r"max number of series|max-series-per-query", _limit, _NARROW, "max_fetched_series_per_query of the source"),
    (r"max number of chunks|max-(estimated-)?chunks-per-query", _limit, _NARROW,
     "max_fetched_chunks_per_query of the source"),
    (r"chunks size limit|chunks-bytes-per-query", _limit, _NARROW, "max_fetched_chunk_bytes_per_query of the source"),
    (r"data size limit", _limit, _NARROW, "max_fetched_data_bytes_per_query of the source"),
    # Time, before VictoriaMetrics' limits: their texts name a flag as well.
    (r"tim(e|ed)[ -]?out|deadline[ _]?exceeded", _timeout, _CHEAPER,
     "the time limit of the source (Prometheus: --query.timeout)"),
    # VictoriaMetrics
    (r"-search\.max[A-Z]|not enough memory|cannot select more than|too long query|matching timeseries exceeds", _limit,
     _NARROW, "that limit"),
    # What stands behind the source
    (r"code = (Unavailable|Aborted|Internal|Canceled)|connection (error|refused|reset)|no such host|dial tcp"
     r"|context cancel+ed|live replicas|unhealthy instances|empty ring|store-consistency-check|bucket-index-too-old"
     r"|TSDB not ready|broken pipe", _failed, "look at its own log", ""),
    # Any other limit
    (r"\blimit\b\s*\(limit:|err-mimir-(tenant-)?max-|ResourceExhausted|too many\b|too large"
     r"|(series|samples|chunks|bytes|sample|size|memory|resource)\S* limit|limit (exceeded|reached)"
     r"|exceed(s|ed|ing)? .*(limit|maximum)|exceeds \d+|maximum number of", _limit, _NARROW, "that limit"),
)  # fmt: skip
"""Pattern (case does not matter), error, what to do, or else what to raise: a flag that the text names comes first."""

_TABLE: Final = tuple((re.compile(row[0], re.IGNORECASE), *row[1:]) for row in ROWS)
_QUOTED: Final = re.compile(r'"[^"]*"|\{[^}]*\}')
"""What an engine repeats of the query and of labels: any words."""


def recognised(text: str, shown: str) -> SourceError | None:
    """Return the error that the words of a refusal stand for, None where the table does not know them.

    Parameters
    ----------
    text : str
        All that the server said.
    shown : str
        The same, fit for a message.
    """
    if match := _POINTS.search(text):
        points = int((match[1] or match[2]).replace(",", ""))
        return TooManyPoints(f"the source refuses so many points in one query: {shown}", points, _POINTS_KEY)
    words = text if text.lstrip()[:1] in {"{", "<"} else _QUOTED.sub('""', text)
    for pattern, make, advice, limit in _TABLE:
        if pattern.search(words):
            flag = _FLAG.search(words)
            raised = f"{flag[0]} of the source" if flag else limit
            return make(shown, f"{advice}, or raise {raised}" if limit else advice)
    return None


def by_kind(kind: str, shown: str) -> SourceError:
    """Return the error for words that nobody knows, by Prometheus' `errorType`."""
    if kind == "timeout":
        return _timeout(shown, "make it cheaper, or use a recording rule")
    if kind in {"internal", "unavailable", "canceled"}:
        return _failed(shown, "")
    return _rejected(shown, _CORRECT)
