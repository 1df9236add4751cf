"""Against a real Prometheus: the right rows, whatever happens to the server."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from exporter.source.errors import DeadlineExceeded, LimitExceeded, QueryRejected, Unreachable
from tests.source.conftest import BEGIN
from tests.support.processes import pause, resume

pytestmark = pytest.mark.servers
END = BEGIN + 59 * 60.0


def same(one, other):
    assert one.labels == other.labels
    for mine, theirs in ((one.counts, other.counts), (one.times, other.times), (one.values, other.values)):
        np.testing.assert_array_equal(mine, theirs)


def test_a_range_holds_every_sample_of_every_series(connect, filled):
    frame = connect(filled.url).range("ramp", BEGIN, END, 60.0)
    assert [json.loads(label)["n"] for label in frame.labels] == list("0123456789")
    assert frame.counts.tolist() == [60] * 9 + [30]
    np.testing.assert_array_equal(frame.times[:60], BEGIN + 60.0 * np.arange(60))
    np.testing.assert_array_equal(frame.values[:60], np.arange(60.0))
    np.testing.assert_array_equal(frame.times[-30:], BEGIN + 60.0 * np.arange(30, 60))
    assert frame.body_bytes > 1000
    assert frame.samples_read >= 570, "Prometheus says what it has read"
    assert (frame.warnings, frame.series_dropped, frame.samples_dropped, frame.retries) == ((), {}, {}, 0)


@pytest.mark.parametrize("max_points", [7, 59, 60])
def test_a_split_range_has_the_same_rows(connect, filled, max_points):
    """Row 8, with a series that exists only in some of the parts."""
    truth = connect(filled.url).range("ramp", BEGIN, END, 60.0)
    same(connect(filled.url, max_points=max_points).range("ramp", BEGIN, END, 60.0), truth)


@pytest.mark.parametrize("max_points", [11_000, 50_000])
def test_more_points_than_prometheus_allows_arrive_all(connect, filled, max_points):
    """Row 8: 20,001 points; the second time Prometheus refuses, and says how many it takes."""
    frame = connect(filled.url, max_points=max_points).range("vector(time())", BEGIN, BEGIN + 20_000.0, 1.0)
    truth = BEGIN + np.arange(20_001.0)
    np.testing.assert_array_equal(frame.times, truth)
    np.testing.assert_array_equal(frame.values, truth)
    assert frame.labels == [b"{}"]


def test_fractions_of_a_second_stay_on_the_grid(connect, filled):
    frame = connect(filled.url, max_points=4).range("vector(time())", BEGIN + 0.1, BEGIN + 1.0, 0.1)
    np.testing.assert_allclose(frame.values, BEGIN + 0.1 * np.arange(1, 11), atol=1e-4)
    np.testing.assert_array_equal(frame.times, frame.values)


def test_no_series_is_an_empty_frame(connect, filled):
    """Row 11."""
    frame = connect(filled.url).range("nobody_has_this", BEGIN, END, 60.0)
    assert (frame.labels, frame.values.size) == ([], 0)


def test_nan_stays_and_infinity_is_counted(connect, filled):
    """Row 11."""
    frame = connect(filled.url).range("strange", BEGIN, END, 60.0)
    assert frame.counts.tolist() == [30]
    assert np.isnan(frame.values).sum() == 15
    assert np.nansum(frame.values) == 15.0
    assert frame.samples_dropped == {"infinite": 30}


def test_the_series_limit_holds_for_the_union_of_the_parts(connect, filled):
    source = connect(filled.url, max_points=10, limits={"series": 8})
    truth = connect(filled.url).range('ramp{n=~"[0-4]"}', BEGIN, END, 60.0)
    frame = source.range("ramp", BEGIN, END, 60.0, max_series=5)
    same(frame, truth)
    assert frame.series_dropped == {"limit": 5}
    assert source.range("ramp", BEGIN, END, 60.0).series_dropped == {"limit": 2}


@pytest.mark.parametrize(
    "expr", ["sum(", "ramp +", 'ramp{n="}', '"text"', "ramp[5m]", "", "ramp * on(n) strange{", "¿"]
)
def test_a_wrong_expression_is_told_in_the_words_of_prometheus(connect, filled, expr):
    with pytest.raises(QueryRejected, match=r"the source rejects the query: .*; correct its expression") as caught:
        connect(filled.url).range(expr, BEGIN, END, 60.0)
    assert caught.value.retries == 0


def test_too_many_samples_fail_one_query_and_not_the_others(connect, prometheus):
    """Row 7."""
    server = prometheus(flags=["--query.max-samples=300"])
    source = connect(server.url)
    with pytest.raises(LimitExceeded, match="too many samples") as caught:
        source.range("vector(1)", BEGIN, BEGIN + 1000.0, 1.0)
    assert caught.value.retries == 0
    assert source.range("vector(1)", BEGIN, BEGIN + 100.0, 1.0).counts.tolist() == [101]


def test_a_stopped_server_costs_one_deadline_and_a_killed_one_an_error(connect, prometheus):
    """Rows 1 and 2: SIGSTOP, SIGCONT, SIGKILL and a restart on the same port, with one source all the way."""
    server = prometheus()
    source = connect(server.url, concurrency=2)

    def ask(_=None):
        return source.range("vector(1)", BEGIN, BEGIN, 60.0)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(ask, range(4)))
        pause(server)
        source.allow(1.0)
        for future in [pool.submit(ask) for _ in range(2)]:
            with pytest.raises(DeadlineExceeded) as caught:
                future.result()
            assert caught.value.retries == 0
        resume(server)
        source.allow()
        list(pool.map(ask, range(4)))
        server.kill()
        with pytest.raises(Unreachable, match="Connection refused"):
            ask()
        server.start()
        for frame in pool.map(ask, range(30)):
            assert frame.values.tolist() == [1.0]


def test_metric_types_come_from_the_metadata(connect, shared_prometheus):
    names = [
        "prometheus_http_requests_total",
        "go_goroutines",
        "prometheus_http_request_duration_seconds",
        "go_gc_duration_seconds",
        "nobody_has_this",
    ]
    assert connect(shared_prometheus.url).metric_types(names) == {
        "prometheus_http_requests_total": "counter",
        "go_goroutines": "gauge",
        "prometheus_http_request_duration_seconds": "histogram",
        "go_gc_duration_seconds": "summary",
    }
