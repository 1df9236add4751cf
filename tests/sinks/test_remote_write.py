"""Remote write: to a real Prometheus, and to servers that refuse, ask for patience, or say nothing."""

import math
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import cramjam
import numpy as np
import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from deploy.demo.servers import PrometheusServer
from exporter.config.sections.job import JobConfig
from exporter.config.sections.remote_write import RemoteWriteConfig
from exporter.config.sections.root import Config
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.verdict import Verdict
from exporter.sinks import remote_write
from exporter.sinks.remote_write import RemoteWrite
from exporter.sinks.remote_write_message import STALE, Metadata, Sample, Version, decoded, encoded, samples_of
from exporter.sinks.remote_write_queue import LONGEST_PAUSE, Outgoing
from tests.support.stub import Reply, Stub, serve
from tests.support.verdicts import key, verdict
from tests.support.waiting import PATIENCE, eventually

A, B = key(**{"instance": "a", "service.name": "cart"}), key(instance="b", path='x"\\\n')
TAKEN = Reply(status=204)
JOB = JobConfig(expr="up", publish=frozenset({"value"}))


def writing(url: str, **keys: Any) -> RemoteWriteConfig:
    return RemoteWriteConfig.model_validate({"url": f"{url}/api/v1/write", "version": 1, **keys})


def samples(count: int, since: int = 0) -> list[Sample]:
    return [Sample((("__name__", "m"), ("i", str(n))), float(n), 1000) for n in range(since, since + count)]


def at(seconds: float, *keys: Any, **changed: Any) -> Verdict:
    made = verdict(keys, **changed)
    return type(made)(**{name: getattr(made, name) for name in made.__slots__} | {"time": seconds})


def counted(metrics: SelfMetrics) -> dict[str, float]:
    found: dict[str, float] = {}
    for family in metrics.registry.collect():
        for each in family.samples:
            if each.name == "anomaly_exporter_remote_write_samples_total" and each.value:
                found[each.labels["outcome"]] = found.get(each.labels["outcome"], 0.0) + each.value
    return found


@pytest.fixture
def metrics() -> SelfMetrics:
    return SelfMetrics()


@pytest.fixture
def outgoing(metrics: SelfMetrics) -> Outgoing:
    return Outgoing(metrics, "there")


@pytest.fixture
def start(metrics: SelfMetrics) -> Iterator[Callable[..., RemoteWrite]]:
    sinks: list[RemoteWrite] = []

    def begin(url: str, **keys: Any) -> RemoteWrite:
        sink = RemoteWrite(metrics)
        written = {"url": f"{url}/api/v1/write", "instance": "x", "version": 1, **keys}
        config = Config.model_validate(
            {"jobs": {"cpu": {"expr": "up"}}, "remote_write": written, "alerting": {"escaping": "underscores"}}
        )
        sink.prepare(config).commit()
        sink.start()
        sinks.append(sink)
        return sink

    yield begin
    for sink in sinks:
        sink.close(PATIENCE)


def test_a_message_reads_back_and_labels_are_those_of_the_page() -> None:
    known: dict[bytes, Any] = {}
    block = b'\nm{"service.name"="c\\"\\\\\\n",z="1",empty="",a="\xc3\xa4"} NaN\nm{b="2"} +Inf\nn -1.5e3'
    found = list(samples_of([block], 5, known, (("b", "own"), ("c", "added"))))
    assert [dict(each.labels) for each in found] == [
        {"__name__": "m", "service.name": 'c"\\\n', "z": "1", "a": "ä", "b": "own", "c": "added"},
        {"__name__": "m", "b": "2", "c": "added"},
        {"__name__": "n", "b": "own", "c": "added"},
    ]
    assert [each.labels == tuple(sorted(each.labels)) for each in found] == [True] * 3
    assert math.isnan(found[0].value)
    assert (found[1].value, found[2].value) == (math.inf, -1500.0)
    back = decoded(encoded([*found, Sample(found[2].labels, STALE, 6)]))
    assert [each.labels for each in back[:3]] == [each.labels for each in found]
    assert np.float64(back[3].value).tobytes() == np.float64(STALE).tobytes() != np.float64("nan").tobytes()


@pytest.mark.servers
def test_prometheus_takes_what_we_write_and_forgets_at_once_what_has_ended(
    prometheus: Callable[..., PrometheusServer], start: Callable[..., RemoteWrite], metrics: SelfMetrics
) -> None:
    server = prometheus(flags=["--web.enable-remote-write-receiver"])
    sink = start(server.url, labels={"cluster": "eu"})
    now = time.time()
    sink.show(at(now - 3, A, B, score=[1.0, 2.0]), JOB)
    (found,) = server.wait_for('anomaly_score{service_name="cart"} == 1')
    assert found["metric"] == {
        "__name__": "anomaly_score",
        "instance": "a",
        "service_name": "cart",
        "query": "cpu",
        "detector": "robust",
        "cluster": "eu",
    }
    assert server.query('anomaly_value{instance="b"}')[0]["metric"]["path"] == 'x"\\\n'
    server.wait_for('up{job="anomaly-exporter",instance="x",cluster="eu"} == 1')
    sink.show(at(now - 2, A, score=[3.0]), JOB)
    server.wait_for("anomaly_score == 3")
    assert server.query("count(anomaly_score)")[0]["value"][1] == "1", "the other one is over, not just old"
    sink.withdraw("cpu")
    eventually(lambda: server.query("anomaly_score") == [])
    assert "refused" not in counted(metrics)
    assert "overflow" not in counted(metrics)


def test_requests_name_the_protocol_the_tenant_and_who_asks(outgoing: Outgoing, tmp_path: Any) -> None:
    (tmp_path / "token").write_text("hunter2")
    with serve(TAKEN) as stub:
        config = writing(stub.url, tenant="team-a", bearer={"file": str(tmp_path / "token")})
        outgoing.add(samples(3), config)
        assert outgoing.send_one(config) == 0.0
        (request,) = stub.requests
    assert decoded(request.body) == samples(3)
    asked = {name: request.headers[name] for name in ("content-type", "content-encoding", "x-scope-orgid")}
    assert asked == {
        "content-type": "application/x-protobuf",
        "content-encoding": "snappy",
        "x-scope-orgid": "team-a",
    }
    assert request.headers["x-prometheus-remote-write-version"] == "0.1.0"
    assert request.headers["authorization"] == "Bearer hunter2"


@pytest.mark.parametrize("status", [429, 500, 503])
def test_who_asks_for_patience_gets_it_and_nothing_is_lost(
    outgoing: Outgoing, metrics: SelfMetrics, status: int
) -> None:
    with serve(Reply(status=status, headers={"Retry-After": "120"}), Reply(status=503), TAKEN) as stub:
        config = writing(stub.url, samples=2)
        outgoing.add(samples(4), config)
        assert outgoing.send_one(config) == (120.0 if status != 500 else pytest.approx(120.0))
        assert 0.5 <= outgoing.send_one(config) <= LONGEST_PAUSE
        while len(outgoing):
            assert outgoing.send_one(config) == 0.0
        bodies = [decoded(each.body) for each in stub.requests]
    assert bodies == [samples(2)] * 3 + [samples(2, since=2)], "in order, one at a time"
    assert counted(metrics) == {"sent": 4}


def test_what_can_never_be_taken_is_dropped_and_counted_and_the_rest_goes_on(
    outgoing: Outgoing, metrics: SelfMetrics
) -> None:
    with serve(Reply(b"out of order sample", status=400), TAKEN) as stub:
        config = writing(stub.url, samples=2)
        outgoing.add(samples(4), config)
        while len(outgoing):
            assert outgoing.send_one(config) == 0.0
        assert decoded(stub.requests[1].body) == samples(2, since=2)
    assert counted(metrics) == {"refused": 2, "sent": 2}


def test_a_request_that_is_too_large_is_halved_until_it_fits(outgoing: Outgoing, metrics: SelfMetrics) -> None:
    def most_three(request: Any) -> Reply:
        return TAKEN if len(decoded(request.body)) <= 3 else Reply(status=413)

    with serve(most_three) as stub:
        config = writing(stub.url)
        outgoing.add(samples(10), config)
        while len(outgoing):
            outgoing.send_one(config)
        taken = [each for request in stub.requests if len(each := decoded(request.body)) <= 3]
    assert [sample for body in taken for sample in body] == samples(10)
    assert counted(metrics) == {"sent": 10}
    with serve(Reply(status=413)) as stub:
        outgoing.add(samples(2), writing(stub.url))
        while len(outgoing):
            outgoing.send_one(writing(stub.url))
    assert counted(metrics) == {"sent": 10, "refused": 2}


@pytest.mark.parametrize("reply", [Reply(delay=PATIENCE), Reply(status=401), Reply(status=404), Reply(raw=b"nonsense")])
def test_who_hangs_or_is_set_up_wrong_holds_us_no_longer_than_the_deadline_and_costs_no_sample(
    outgoing: Outgoing, metrics: SelfMetrics, reply: Reply
) -> None:
    with serve(reply, TAKEN) as stub:
        config = writing(stub.url, deadline="0.2s")
        outgoing.add(samples(2), config)
        assert outgoing.send_one(config) > 0
        assert counted(metrics) == {}
        assert outgoing.send_one(writing(stub.url)) == 0.0
    assert counted(metrics) == {"sent": 2}


def test_memory_is_bounded_and_the_oldest_samples_make_room(outgoing: Outgoing, metrics: SelfMetrics) -> None:
    config = writing("http://127.0.0.1:1", samples=100, queue=70_000)
    rng = np.random.default_rng()
    for start in range(0, 20_000, 100):
        random = [Sample((("__name__", "m"), ("i", f"{n}{rng.bytes(8).hex()}")), rng.normal(), n)
                  for n in range(start, start + 100)]  # fmt: skip
        outgoing.add(random, config)
        pending = metrics.registry.get_sample_value("anomaly_exporter_remote_write_pending_bytes", {"remote": "there"})
        assert pending is not None
        assert pending <= config.queue
    with serve(TAKEN) as stub:
        while len(outgoing):
            outgoing.send_one(writing(stub.url))
        times = [sample.time for request in stub.requests for sample in decoded(request.body)]
    assert times == sorted(times)
    assert times[-1] == 19_999, "what is new is kept"
    found = counted(metrics)
    assert found["overflow"] + found["sent"] == 20_000
    assert found["overflow"] > 0


def test_no_cycle_waits_for_a_server_and_the_newest_state_is_written_when_it_is_back(
    start: Callable[..., RemoteWrite], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_write, "OWN_EVERY", math.inf)

    def scores(stub: Stub) -> list[float]:
        return [
            sample.value
            for request in stub.requests
            for sample in decoded(request.body)
            if ("__name__", "anomaly_score") in sample.labels
        ]

    with serve(Reply(status=503), TAKEN) as stub:
        sink = start(stub.url)
        for second in range(3):
            sink.show(at(100.0 + second, B, score=[float(second)]), JOB)
            sink.flush()
        sink.show(at(101.0, B, score=[9.0]), JOB)
        eventually(lambda: 2.0 in scores(stub))
        sink.show_again(at(200.0, B, score=[7.0]), JOB)
        sink.close(PATIENCE)
        assert 9.0 not in scores(stub), "what is older than what was written would be refused"
        assert 7.0 not in scores(stub)


def test_without_a_server_nothing_is_kept(metrics: SelfMetrics) -> None:
    sink = RemoteWrite(metrics)
    sink.prepare(Config.model_validate({"jobs": {"cpu": {"expr": "up"}}})).commit()
    sink.start()
    sink.show(at(1.0, B), JOB)
    assert not sink._writers
    sink.close(0.0)


def test_a_server_that_a_reload_takes_out_is_written_to_no_more(
    start: Callable[..., RemoteWrite], metrics: SelfMetrics
) -> None:
    with serve(Reply(status=503)) as stub:
        sink = start(stub.url)
        eventually(lambda: stub.requests)
        sink.prepare(Config.model_validate({"jobs": {"cpu": {"expr": "up"}}})).commit()
        eventually(lambda: counted(metrics).get("overflow"))
        sink.show(at(1.0, B), JOB)
        assert not sink._writers
        up = ("anomaly_exporter_remote_write_up", {"remote": stub.url.removeprefix("http://")})
        eventually(lambda: metrics.registry.get_sample_value(*up) is None)


ABOUT = Metadata("gauge", "how it is")


def knows_both(request: Any) -> Reply:
    """Answer as a server that knows 2.0 and 1.0."""
    version: Version = 2 if "v2.Request" in request.headers["content-type"] else 1
    taken = len(decoded(request.body, version))
    return Reply(status=204, headers={"X-Prometheus-Remote-Write-Samples-Written": str(taken)})


def with_metadata(count: int) -> list[Sample]:
    return [each._replace(metadata=ABOUT) for each in samples(count)]


def test_a_message_of_version_2_is_that_of_its_specification_byte_by_byte() -> None:
    body = encoded([Sample((("__name__", "m"),), 1.0, 1000, Metadata("gauge", "h"))], 2)
    symbols = b"\x22\x00" + b"\x22\x08__name__" + b"\x22\x01m" + b"\x22\x01h"
    labels, metadata = b"\x0a\x02\x01\x02", b"\x2a\x04\x08\x02\x18\x03"
    sample = b"\x12\x0c" + b"\x09" + struct.pack("<d", 1.0) + b"\x10\xe8\x07"
    series = labels + sample + metadata
    assert bytes(cramjam.snappy.decompress_raw(body)) == symbols + b"\x2a" + bytes([len(series)]) + series


def test_a_server_that_knows_version_2_gets_texts_once_and_what_a_metric_means(
    outgoing: Outgoing, metrics: SelfMetrics
) -> None:
    with serve(knows_both) as stub:
        config = writing(stub.url, version="auto", samples=3)
        outgoing.add(with_metadata(4), config)
        while len(outgoing):
            assert outgoing.send_one(config) == 0.0
        first, second = stub.requests
    assert decoded(first.body, 2) + decoded(second.body, 2) == with_metadata(4)
    assert first.headers["content-type"] == "application/x-protobuf;proto=io.prometheus.write.v2.Request"
    assert first.headers["x-prometheus-remote-write-version"] == "2.0.0"
    assert bytes(cramjam.snappy.decompress_raw(first.body)).count(b"how it is") == 1
    assert counted(metrics) == {"sent": 4}


@pytest.mark.parametrize("unknowing", [TAKEN, Reply(status=415), Reply(b"unknown field", status=400)])
def test_a_server_that_does_not_know_version_2_gets_the_same_samples_by_version_1(
    outgoing: Outgoing, metrics: SelfMetrics, unknowing: Reply
) -> None:
    with serve(unknowing, TAKEN) as stub:
        config = writing(stub.url, version="auto", samples=2)
        outgoing.add(with_metadata(4), config)
        while len(outgoing):
            assert outgoing.send_one(config) == 0.0, "there is nothing to wait for"
        outgoing.add(samples(1, since=4), config)
        outgoing.send_one(config)
        bodies = [decoded(each.body) for each in stub.requests[1:]]
    assert bodies == [samples(2), samples(2, since=2), samples(1, since=4)], "asked once, then known"
    assert counted(metrics) == {"sent": 5}


def test_who_is_told_to_speak_version_2_alone_says_that_the_server_does_not_know_it(outgoing: Outgoing) -> None:
    with serve(TAKEN) as stub, capture_logs() as logs:
        config = writing(stub.url, version=2)
        outgoing.add(samples(2), config)
        assert outgoing.send_one(config) > 0
    assert len(outgoing) == 1, "nothing is lost"
    assert logs[0]["error"] == (
        "there does not say how many samples it has written, so it does not know version 2.0; "
        "set remote_write.version to 1 or auto"
    )


def test_of_a_request_that_is_partly_written_the_rest_is_counted_as_refused(
    outgoing: Outgoing, metrics: SelfMetrics
) -> None:
    partly = Reply(b"out of bounds", status=400, headers={"X-Prometheus-Remote-Write-Samples-Written": "3"})
    with serve(partly) as stub:
        config = writing(stub.url, version="auto")
        outgoing.add(samples(5), config)
        assert outgoing.send_one(config) == 0.0
        assert len(stub.requests) == 1, "a server that says what it has written knows the version"
    assert counted(metrics) == {"sent": 3, "refused": 2}


@pytest.mark.servers
def test_a_prometheus_that_knows_only_version_1_gets_it_without_being_told(
    prometheus: Callable[..., PrometheusServer], start: Callable[..., RemoteWrite], metrics: SelfMetrics
) -> None:
    server = prometheus(flags=["--web.enable-remote-write-receiver"])
    sink = start(server.url, version="auto")
    sink.show(at(time.time() - 1, B, score=[2.0]), JOB)
    server.wait_for("anomaly_score == 2")
    assert counted(metrics).keys() == {"sent"}


def test_of_two_servers_each_gets_all_whatever_the_other_does(metrics: SelfMetrics) -> None:
    def scores(stub: Stub) -> set[tuple[float, str]]:
        return {
            (sample.value, dict(sample.labels).get("site", ""))
            for request in list(stub.requests)
            for sample in decoded(request.body)
            if ("__name__", "anomaly_score") in sample.labels
        }

    with serve(Reply(status=503)) as away, serve(TAKEN) as here:
        servers = [
            {"url": f"{away.url}/write", "name": "away", "version": 1},
            {"url": f"{here.url}/write", "name": "here", "version": 1, "labels": {"site": "b"}},
        ]
        sink = RemoteWrite(metrics)
        sink.prepare(Config.model_validate({"jobs": {"cpu": {"expr": "up"}}, "remote_write": servers})).commit()
        sink.start()
        try:
            for second in range(3):
                sink.show(at(100.0 + second, B, score=[float(second)]), JOB)
                eventually(lambda second=second: (float(second), "b") in scores(here))
            eventually(lambda: metrics.registry.get_sample_value(
                "anomaly_exporter_remote_write_up", {"remote": "away"}) == 0.0)  # fmt: skip
        finally:
            sink.close(PATIENCE)
        assert metrics.registry.get_sample_value("anomaly_exporter_remote_write_up", {"remote": "here"}) == 1.0


def test_two_servers_of_one_name_and_a_wrong_key_in_a_list_are_told_with_their_place() -> None:
    same = {"url": "http://a:1/x"}
    with pytest.raises(ValidationError, match="2 servers are called a:1: give each a `name` of its own"):
        Config.model_validate({"jobs": {"cpu": {"expr": "up"}}, "remote_write": [same, same]})
