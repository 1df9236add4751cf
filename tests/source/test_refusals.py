"""Every way to refuse a query has one error, one cause and one piece of advice."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.source.error_mapping import refusal
from exporter.source.errors import (
    AccessDenied,
    BadAnswer,
    LimitExceeded,
    QueryRejected,
    ServerFailed,
    SourceError,
    Throttled,
    TooManyPoints,
    Unreachable,
)

URL = "http://prometheus:9090"


def said(kind, text):
    return json.dumps({"status": "error", "errorType": kind, "error": text}).encode()


CASES = [
    # Prometheus
    (400, said("bad_data", "1:5: parse error: unexpected end of input"), QueryRejected, "parse error: unexpected end"),
    (400, said("bad_data", 'exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query '
                           "resolution (?step=XX)"), TooManyPoints, "so many points"),
    (422, said("execution", "query processing would load too many samples into memory in query execution"),
     LimitExceeded, "too many samples"),
    (422, said("execution", "found duplicate series for the match group {} on the right hand-side"),
     QueryRejected, "duplicate series"),
    (503, said("timeout", "query timed out in expression evaluation"), LimitExceeded, "recording rule"),
    (503, said("unavailable", "TSDB not ready"), Throttled, "TSDB not ready"),
    (500, said("internal", "remote read failed"), ServerFailed, "remote read failed"),
    (404, b"404 page not found", BadAnswer, "check the path prefix in prometheus.url"),
    # Thanos
    (422, said("execution", "exceeded series limit: limit 1000 violated (got 1001)"), LimitExceeded, "limit 1000"),
    (500, said("internal", "failed to receive any data: rpc error: code = ResourceExhausted desc = exceeded series "
                           "limit: limit 5 violated (got 6)"), LimitExceeded, "narrow the query"),
    # Mimir
    (401, b"no org id\n", AccessDenied, "no org id; check basic_auth, bearer and headers"),
    (422, said("execution", "the query exceeded the maximum number of series (limit: 5 series) "
                            "(err-mimir-max-series-per-query)"), LimitExceeded, "err-mimir-max-series-per-query"),
    (422, said("bad_data", "the query time range exceeds the limit (query length: 800h, limit: 744h) "
                           "(err-mimir-max-query-length)"), LimitExceeded, "err-mimir-max-query-length"),
    (429, said("too_many_requests", "the request has been rejected because the tenant exceeded the request rate limit "
                                    "(err-mimir-tenant-max-request-rate)"), Throttled, "429 Too Many Requests"),
    # VictoriaMetrics
    (422, said("422", "the number of matching timeseries exceeds 30000; either narrow down the search or increase "
                      "-search.maxUniqueTimeseries"), LimitExceeded, "30000"),
    (422, said("422", "too many points for the given start, end and step; the maximum number of points is 30000"),
     TooManyPoints, "30000"),
    (422, said("422", "cannot select more than -search.maxSamplesPerQuery=100000 samples; possible solutions: to "
                      "increase the limit"), LimitExceeded, "raise -search.maxSamplesPerQuery of the source"),
    (422, said("422", "not enough memory for processing {up}, which returns 9 data points across 1 time series with 3 "
                      "points in each time series according to -search.maxMemoryPerQuery=1; requested memory: 5"),
     LimitExceeded, "raise -search.maxMemoryPerQuery of the source"),
    (400, said("400", "too long query; got 220 bytes; mustn't exceed `-search.maxQueryLen=200` bytes"),
     LimitExceeded, "raise -search.maxQueryLen of the source"),
    (422, said("422", "timeout exceeded before starting the query processing: 0.005 seconds (elapsed 0.2 seconds); the "
                      "timeout can be adjusted with -search.maxQueryDuration command-line flag"),
     LimitExceeded, "raise -search.maxQueryDuration of the source"),
    (422, said("422", "the response contains more than -search.maxResponseSeries=50 time series"),
     LimitExceeded, "raise -search.maxResponseSeries of the source"),
    # Cortex
    (422, said("execution", "the query hit the aggregated data size limit (limit: 2000 bytes)"),
     LimitExceeded, "max_fetched_data_bytes_per_query"),
    (422, said("execution", "the query hit the aggregated chunks size limit (limit: 500 bytes)"),
     LimitExceeded, "max_fetched_chunk_bytes_per_query"),
    (422, said("execution", "the query hit the max number of series limit (limit: 5 series)"),
     LimitExceeded, "max_fetched_series_per_query"),
    (422, said("execution", "the query hit the max number of chunks limit (limit: 5 chunks)"),
     LimitExceeded, "max_fetched_chunks_per_query"),
    (400, b"the query time range exceeds the limit (query length: 3h59m0s, limit: 1h0m0s)",
     LimitExceeded, "`history`, or raise max_query_length"),
    (400, b"tenant ID 't-a|t-len' contains unsupported character '|'", AccessDenied, "X-Scope-OrgID"),
    (400, b"tenant ID is too long: max 150 characters", AccessDenied, "headers"),
    (500, said("internal", "multiple org IDs present"), AccessDenied, "X-Scope-OrgID"),
    (400, b'invalid parameter "query"; 1:4: parse error: unexpected end of input', QueryRejected, "correct its expr"),
    (500, b"at least 2 live replicas required, could only find 1", ServerFailed, "live replicas"),
    # Thanos, and stores behind
    (422, said("execution", "expanding series: proxy Series(): rpc error: code = Unavailable desc = connection error"),
     ServerFailed, "look at its own log"),
    (422, said("execution", "expanding series: context deadline exceeded"), LimitExceeded, "--query.timeout"),
    (422, said("execution", "grpc: received message larger than max (9 vs. 4)"), LimitExceeded, "gRPC message"),
    # The query engine, whatever it quotes
    (422, said("execution", 'found duplicate series for the match group {tenantId="X-Scope-OrgID", a="limit exceeded"} '
                            "on the right hand-side of the operation: [...]"), QueryRejected, "correct its expression"),
    (422, said("execution", "multiple matches for labels: many-to-one matching must be explicit "
                            "(group_left/group_right)"), QueryRejected, "correct its expression"),
    (422, said("execution", "vector cannot contain metrics with the same labelset"), QueryRejected, "correct"),
    (400, said("bad_data", 'unknown function with name "timed out too many"'), QueryRejected, "correct"),
    # The wrong address
    (400, b'unsupported path requested: "/select/0/prometheus/api/v1/query_range"', BadAnswer, "path prefix"),
    (400, b'missing -http.pathPrefix="/vmp" in the requested path "/api/v1/query_range"', BadAnswer, "path prefix"),
    (400, b'remoteAddr: "127.0.0.1:1"; missing route for "/select/1/prometheus"', BadAnswer, "path prefix"),
    (400, b"Client sent an HTTP request to an HTTPS server.\n", Unreachable, "write https:// in prometheus.url"),
    (400, b"<html><title>400 The plain HTTP request was sent to HTTPS port</title></html>", Unreachable, "https://"),
    (400, b"<p>Reason: You're speaking plain HTTP to an SSL-enabled server port.</p>", Unreachable, "https://"),
    (400, b"Bad Request", BadAnswer, "did not come from a query engine"),
    (400, b'{"message":"no"}', BadAnswer, "did not come from a query engine"),
    (422, b"<html>teapot</html>", BadAnswer, "did not come from a query engine"),
    (503, said("execution", "query processing would load too many samples into memory"), LimitExceeded,
     "raise --query.max-samples"),
    # what stands in between
    (403, b"<html><h1>Forbidden</h1></html>", AccessDenied, "403 Forbidden); check"),
    (407, b"", AccessDenied, "407 Proxy"),
    (408, b"", ServerFailed, "408 Request Timeout"),
    (413, b"", LimitExceeded, "the query is too long"),
    (502, b"<html>Bad Gateway</html>", ServerFailed, "502 Bad Gateway)"),
    (504, b"upstream request timeout", ServerFailed, "upstream request timeout"),
    (599, b"", ServerFailed, "599"),
    (204, b"", BadAnswer, "204 No Content"),
    (405, b"", BadAnswer, "no query API"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "error", "words"), CASES)
def test_a_refusal_is_told_with_the_sources_own_words(status, body, error, words):
    """Row 7."""
    refused = refusal(status, {}, body, URL)
    assert type(refused) is error
    assert words in str(refused)
    assert "<" not in str(refused)


def test_the_accepted_number_of_points_is_read_from_the_refusal():
    refused = refusal(400, {}, said("bad_data", "exceeded maximum resolution of 11,000 points per timeseries"), URL)
    assert isinstance(refused, TooManyPoints)
    assert refused.points == 11_000


@given(st.integers(200, 999).filter(lambda status: status != 200), st.binary(max_size=2000) | st.text(max_size=2000))
def test_any_refusal_gives_one_short_printable_line(status, body):
    """Rows 14 and 16: a hostile server can write neither escape sequences nor novels into our log."""
    raw = body if isinstance(body, bytes) else said("execution", body)
    refused = refusal(status, {"location": raw.decode(errors="replace"), "retry-after": "x"}, raw, URL, ["secret"])
    assert isinstance(refused, SourceError)
    assert str(refused).isprintable()
    assert len(str(refused)) < 500
    assert "secret" not in str(refused)


def test_a_redirect_repeats_no_secret_of_ours() -> None:
    """Row 53: found by fuzzing; without an @ the secret was not taken for user information."""
    error = refusal(301, {"location": "https://user:hunter2%00elsewhere/"}, b"", "http://prometheus:9090", ["hunter2"])
    assert "hunter2" not in str(error)
    assert "redirects to user:***%00elsewhere" in str(error)


def test_a_redirect_to_what_is_no_address_is_a_redirect_all_the_same() -> None:
    error = refusal(301, {"location": "https://user:x]@[elsewhere/"}, b"", "http://prometheus:9090", [])
    assert "redirects to another path" in str(error)


def test_a_refusal_with_a_number_of_thousands_of_digits_is_one_like_any_other() -> None:
    """Row 16: found by fuzzing; Python converts no such number."""
    text = f"exceeded maximum resolution of {'9' * 5000} points per timeseries"
    assert isinstance(refusal(400, {}, text.encode(), "http://prometheus:9090"), SourceError)
