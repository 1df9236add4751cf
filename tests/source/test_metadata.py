"""Metric types, and ranges without a point, as far as they need no real server."""

import json

import pytest

from exporter.source.errors import BadAnswer, ServerFailed
from tests.support.stub import ONE, Reply, matrix, serve


def metadata(**types):
    data = {name: [{"type": kind, "help": "", "unit": ""} for kind in kinds] for name, kinds in types.items()}
    return Reply(json.dumps({"status": "success", "data": data}).encode())


def test_targets_that_disagree_leave_the_type_open(connect):
    with serve(metadata(a=["counter", "gauge"]), metadata(b=["counter", "counter"]), metadata()) as stub:
        assert connect(stub.url).metric_types(["a", "b", "c", "b"]) == {"b": "counter"}
        assert [request.path for request in stub.requests] == [f"/api/v1/metadata?metric={name}" for name in "abc"]


@pytest.mark.parametrize("name", ["a&b=c", "a b", "ü", "../query", "a#b"])
def test_a_metric_name_cannot_change_the_request(connect, name):
    """Row 20."""
    with serve(metadata()) as stub:
        assert connect(stub.url).metric_types([name]) == {}
        path, _, query = stub.requests[0].path.partition("?")
    assert path == "/api/v1/metadata"
    assert query.count("&") == query.count("#") == 0


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"data":[]}', b'{"data":{"a":7}}', b'{"data":{"a":[7]}}', b'{"data":null}']
)
def test_other_metadata_than_prometheus_sends_is_a_bad_answer(connect, body):
    with serve(Reply(body)) as stub, pytest.raises(BadAnswer, match="metadata API"):
        connect(stub.url).metric_types(["a"])


def test_a_type_that_is_no_text_is_no_type(connect):
    with serve(metadata(a=[7, None, {}])) as stub:
        assert connect(stub.url).metric_types(["a"]) == {}


def test_metadata_is_asked_for_with_our_retries(connect, fast_retries):
    """PrometheusConnect mounts an adapter with three retries of its own."""
    with serve(Reply(status=500)) as stub:
        with pytest.raises(ServerFailed):
            connect(stub.url, retries=1).metric_types(["a"])
        assert len(stub.requests) == 2


def test_a_range_without_a_point_is_empty_and_asks_nothing(connect):
    with serve(Reply(ONE)) as stub:
        assert connect(stub.url).range("up", 60.0, 0.0, 60.0).labels == []
        assert stub.requests == []


def test_samples_from_another_time_are_a_bad_answer(connect, fast_retries):
    """A cache that answers with yesterday must not look like now."""
    with serve(Reply(matrix(({"a": "b"}, [(60.0, "1")])))) as stub:
        source = connect(stub.url)
        with pytest.raises(BadAnswer, match="outside the asked range"):
            source.range("up", 86_400.0, 86_460.0, 60.0)


def test_retries_of_all_parts_are_added_up(connect, fast_retries):
    def body(at):
        return Reply(matrix(({"a": "b"}, [(at, "1"), (at + 60, "2")])))

    bad = Reply(status=500)
    with serve(bad, body(0), body(120), bad, body(240)) as stub:
        frame = connect(stub.url, max_points=2).range("up", 0.0, 300.0, 60.0)
        assert frame.times.tolist() == [0.0, 60.0, 120.0, 180.0, 240.0, 300.0]
        assert frame.retries == 2
    with serve(bad, body(0), bad) as stub:
        with pytest.raises(ServerFailed) as caught:
            connect(stub.url, max_points=2, retries=1).range("up", 0.0, 300.0, 60.0)
        assert caught.value.retries == 2
