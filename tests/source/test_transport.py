"""Every query ends in time, is repeated only when that can help, and tells what went wrong."""

import gzip
import socket
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from exporter.source.errors import (
    BadAnswer,
    DeadlineExceeded,
    LimitExceeded,
    QueryRejected,
    ServerFailed,
    SourceError,
    Throttled,
    Unreachable,
)
from exporter.source.http_deadline import deadline
from tests.support.proxy import Fault, proxied
from tests.support.sockets import refusing, silent
from tests.support.stub import ONE, Reply, serve
from tests.support.waiting import PATIENCE

DEADLINE = 0.6
HELD_BACK = 60.0
"""Seconds for which the servers here hold back what is asked: a hundred deadlines."""


def in_time(ask):
    """Expect DeadlineExceeded at the first attempt, long before the answer could have come."""
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded) as caught:
        ask()
    assert caught.value.retries == 0
    assert time.monotonic() - began < HELD_BACK / 2
    return str(caught.value)


@pytest.mark.parametrize(
    "fault",
    [Fault(black_hole=True), Fault(trickle=0.3), Fault(latency=HELD_BACK)],
    ids=["black hole", "trickled headers", "late"],
)
def test_a_slow_answer_is_cut_at_the_deadline_and_the_next_query_works(connect, fault):
    """Rows 2 and 3. One connection only, so a slot that is not given back would be noticed."""
    with serve(Reply(ONE)) as stub, proxied(stub.url, fault) as proxy:
        source = connect(proxy.url, deadline=DEADLINE, concurrency=1)
        assert "gave no complete answer within 600ms" in in_time(source.once)
        proxy.fault = Fault()
        source.allow()
        assert source.once().values.tolist() == [1.0]


def test_a_trickled_body_is_cut_at_the_deadline(connect):
    """Row 3: each byte comes well within any time-out between bytes."""

    def trickle(listener):
        client, _ = listener.accept()
        with client:
            client.recv(65536)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            try:
                for _ in range(1000):
                    client.sendall(b" ")
                    time.sleep(0.06)
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=trickle, args=(listener,))
        thread.start()
        in_time(connect(f"http://127.0.0.1:{listener.getsockname()[1]}", deadline=DEADLINE).once)
        thread.join()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_server_that_accepts_and_never_answers_is_left_at_the_deadline(connect, scheme):
    """Row 2: the kernel of a stopped process goes on accepting. With https it is the handshake that hangs."""
    with silent() as url:
        in_time(connect(url.replace("http", scheme), deadline=DEADLINE).once)


def test_an_address_that_swallows_packets_is_left_at_the_deadline(connect):
    """A full backlog drops further connection requests, as a black hole would."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, socket.socket() as first:
        first.connect(listener.getsockname())
        with socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(listener.getsockname())
            in_time(connect(f"http://127.0.0.1:{listener.getsockname()[1]}", deadline=DEADLINE).once)


def test_metadata_keeps_the_deadline_too(connect):
    """PrometheusConnect has no time-out of its own, and mounts an adapter with its own retries."""
    with serve(Reply(ONE)) as stub, proxied(stub.url, Fault(trickle=0.3)) as proxy:
        source = connect(proxy.url, deadline=DEADLINE)
        in_time(lambda: source.metric_types(["up"]))


def test_waiting_for_a_free_connection_counts_against_the_deadline(connect):
    with serve(Reply(ONE)) as stub:
        source = connect(stub.url, deadline=DEADLINE, concurrency=1)
        with deadline(PATIENCE), source._session._slot():
            words = in_time(source.once)
        assert "all 1 connections were busy; raise prometheus.concurrency" in words
        assert stub.requests == []
        source.allow()
        assert source.once().values.tolist() == [1.0]


def test_queries_behind_a_slow_one_end_in_time(connect):
    """Row 2: each waits for its turn, none longer than its deadline."""
    with serve(Reply(ONE, delay=HELD_BACK)) as stub:
        source = connect(stub.url, deadline=DEADLINE, concurrency=1)
        with ThreadPoolExecutor(5) as pool:
            list(pool.map(lambda _: in_time(source.once), range(5)))


def test_no_more_queries_than_configured_are_under_way_and_connections_are_kept(connect):
    """Row 5: a pool smaller than the concurrency would open a connection for each query."""
    now = most = 0
    lock, three = threading.Lock(), threading.Barrier(3)

    def reply(request):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        three.wait(PATIENCE)
        time.sleep(0.02)  # for a fourth
        with lock:
            now -= 1
        return Reply(ONE)

    with serve(reply) as stub:
        source = connect(stub.url, concurrency=3)
        with ThreadPoolExecutor(12) as pool:
            list(pool.map(lambda _: source.once(), range(60)))
        assert most == 3
        assert stub.connections == 3


def test_no_query_is_lost_when_the_server_moves(connect, fast_retries):
    """Row 5: ten pooled connections die at once, thirty queries come."""
    with serve(Reply(ONE, delay=0.02)) as old, serve(Reply(ONE)) as new, proxied(old.url) as proxy:
        source = connect(proxy.url, concurrency=10)
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(lambda _: source.once(), range(10)))
            proxy.target = int(new.url.rpartition(":")[2])
            proxy.drop_connections()
            assert [frame.values.tolist() for frame in pool.map(lambda _: source.once(), range(30))] == [[1.0]] * 30
    assert len(new.requests) == 30


TRUNCATED = {
    "length not reached": Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + ONE),
    "inside a chunk": Reply(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100\r\n" + ONE[:20]),
    "between chunks": Reply(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(ONE), ONE)),
    "end by close": Reply(raw=b"HTTP/1.0 200 OK\r\n\r\n" + ONE[:-10]),
    "nothing": Reply(raw=b"HTTP/1.0 200 OK\r\n\r\n"),
    "gzip": Reply(gzip.compress(ONE)[:-12], headers={"Content-Encoding": "gzip"}),
    "no gzip": Reply(ONE, headers={"Content-Encoding": "gzip"}),
}


@pytest.mark.parametrize("broken", TRUNCATED.values(), ids=TRUNCATED.keys())
def test_an_incomplete_answer_is_an_error_and_asked_again(connect, fast_retries, broken):
    """Row 4: never an empty or shortened frame."""
    with serve(broken) as stub:
        with pytest.raises(BadAnswer) as caught:
            connect(stub.url, retries=1).once()
        assert (caught.value.retries, len(stub.requests)) == (1, 2)
    with serve(broken, Reply(ONE)) as stub:
        frame = connect(stub.url).once()
    assert (frame.values.tolist(), frame.retries) == ([1.0], 1)


def test_a_reset_in_mid_body_is_an_error(connect, fast_retries):
    with serve(Reply(ONE * 10)) as stub, proxied(stub.url, Fault(cut_after=120, reset=True)) as proxy:
        with pytest.raises((BadAnswer, Unreachable)):
            connect(proxy.url, retries=1).once()
        assert proxy.connections == 2


def test_a_flaky_line_costs_at_most_twice_the_requests(connect, fast_retries):
    """Row 4, with every tenth answer cut off."""
    with serve(Reply(ONE)) as stub, proxied(stub.url, Fault(latency=0.005, cut_after=150, share=0.1)) as proxy:
        source = connect(proxy.url)
        for _ in range(60):
            assert source.once().values.tolist() == [1.0]
            proxy.drop_connections()
        assert 60 < proxy.connections <= 120


@pytest.mark.parametrize(
    ("reply", "error", "attempts"),
    [
        (Reply(status=500), ServerFailed, 4),
        (Reply(status=429), Throttled, 4),
        (Reply(b"<html>", 200), BadAnswer, 4),
        (Reply(b'{"status":"error","errorType":"bad_data","error":"parse error"}', 400), QueryRejected, 1),
        (Reply(b'{"status":"error","errorType":"execution","error":"too many samples"}', 422), LimitExceeded, 1),
        (Reply(status=404), BadAnswer, 1),
    ],
)
def test_only_what_may_pass_is_asked_again(connect, fast_retries, reply, error, attempts):
    """Row 7."""
    with serve(reply) as stub:
        with pytest.raises(error) as caught:
            connect(stub.url, retries=3).once()
        assert (len(stub.requests), caught.value.retries) == (attempts, attempts - 1)


def test_nobody_listening_is_told_in_words(connect, fast_retries):
    """Row 1."""
    with refusing() as url, pytest.raises(Unreachable) as caught:
        connect(url).once()
    assert str(caught.value) == (
        f"{url} does not answer: Connection refused; is it running, and is prometheus.url right?"
    )
    assert caught.value.retries == 2


def test_a_name_that_does_not_exist_is_told_in_words(connect, fast_retries, monkeypatch):
    """Row 5."""

    def unknown(*args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(Unreachable, match=r"does not answer: Name or service not known;"):
        connect("http://prometheus.invalid:9090").once()


def test_a_long_outage_is_not_met_with_a_storm_of_retries(connect, fast_retries):
    """Row 4: the retry budget runs dry, and fills up again once the source is back."""
    with serve(Reply(status=500)) as stub:
        source = connect(stub.url, retries=2)
        for _ in range(100):
            with pytest.raises(ServerFailed):
                source.once()
        assert len(stub.requests) < 120
        stub.script = [Reply(ONE)]
        for _ in range(20):
            source.once()
        stub.script = [Reply(status=500)] * len(stub.requests) + [Reply(status=500), Reply(ONE)]
        assert source.once().retries == 1


def test_retry_after_is_waited_for(connect, fast_retries):
    """Row 9."""
    with serve(Reply(status=429, headers={"Retry-After": "1"}), Reply(ONE)) as stub:
        frame = connect(stub.url).once()
        first, second = stub.requests
    assert frame.retries == 1
    assert second.at - first.at >= 1.0


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("retry_after", ["3600", "Fri, 31 Dec 2999 23:59:59 GMT"])
def test_a_retry_after_beyond_the_deadline_fails_now_and_leaves_the_source_in_peace(
    connect, status, retry_after, monkeypatch
):
    """Row 9: other queries hold back as well, but no longer than one deadline."""
    with serve(Reply(status=status, headers={"Retry-After": retry_after}), Reply(ONE)) as stub:
        source = connect(stub.url, deadline=HELD_BACK, retries=5)
        began = time.monotonic()
        with pytest.raises(Throttled, match="asks to come back later"):
            source.once()
        assert time.monotonic() - began < HELD_BACK / 2
        with pytest.raises(Throttled, match="asked for a pause"):
            source.metric_types(["up"])
        assert len(stub.requests) == 1
        later = SimpleNamespace(monotonic=lambda: time.monotonic() + HELD_BACK, sleep=time.sleep)
        monkeypatch.setattr("exporter.source.http_session.time", later)
        assert source.once().retries == 0


@pytest.mark.parametrize("retry_after", ["soon", "-5", "", "Fri, 99 Foo"])
def test_a_senseless_retry_after_is_ignored(connect, fast_retries, retry_after):
    with serve(Reply(status=503, headers={"Retry-After": retry_after}), Reply(ONE)) as stub:
        assert connect(stub.url).once().retries == 1


def test_the_query_travels_in_the_body_and_the_path_prefix_stays(connect):
    """A URL is too short for a long query, and ends up in access logs."""
    long = " or ".join(f'up{{instance="{number}"}}' for number in range(5000))
    with serve(Reply(ONE)) as stub:
        connect(stub.url + "/prometheus/").once(long)
        request = stub.requests[0]
    assert (request.method, request.path) == ("POST", "/prometheus/api/v1/query_range")
    assert request.form == {
        "query": long,
        "start": "60.000",
        "end": "60.000",
        "step": "60.000",
        "latency_offset": "1ms",
        "stats": "true",
    }
    assert request.headers["user-agent"].startswith("anomaly-exporter/")


@pytest.mark.parametrize("compression", ["identity", "gzip"])
def test_compression_is_as_configured(connect, compression):
    packed = Reply(gzip.compress(ONE), headers={"Content-Encoding": "gzip"})
    with serve(packed if compression == "gzip" else Reply(ONE)) as stub:
        frame = connect(stub.url, compression=compression).once()
        assert stub.requests[0].headers["accept-encoding"] == compression
    assert frame.values.tolist() == [1.0]
    assert frame.body_bytes == len(ONE)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_beyond_the_limit_is_left_before_it_fills_the_memory(connect, packed, chunked):
    """Rows 13 and 15: the limit counts decoded bytes; 100 MiB of blanks are 100 kB of gzip."""
    limit = 2**20
    body = gzip.compress(b" " * (100 * limit)) if packed else b" " * (20 * limit)
    headers = {"Content-Encoding": "gzip"} if packed else {}
    if chunked:
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
        raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (head, len(body), body)
        reply = Reply(raw=raw)
    else:
        reply = Reply(body, headers=headers)
    with serve(reply) as stub:
        source = connect(stub.url, max_response=limit, compression="gzip", concurrency=1)
        tracemalloc.start()
        try:
            with pytest.raises(LimitExceeded, match=r"larger than prometheus\.max_response \(1048576 bytes\)"):
                source.once()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert len(stub.requests) == 1
        stub.script = [Reply(ONE)]
        assert source.once().values.tolist() == [1.0]
    assert peak < 5 * limit


def test_a_large_error_page_is_read_only_in_part(connect):
    bomb = gzip.compress(b'{"error":"' + b"x" * (50 * 2**20))
    with serve(Reply(bomb, status=400, headers={"Content-Encoding": "gzip"})) as stub:
        source = connect(stub.url)
        tracemalloc.start()
        try:
            with pytest.raises(QueryRejected) as caught:
                source.once()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 5 * 2**20
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"",
    ],
    ids=["ssh", "too many headers", "tls alert", "closed"],
)
def test_what_is_no_http_is_a_source_error(connect, fast_retries, raw):
    with serve(Reply(raw=raw)) as stub, pytest.raises(SourceError):
        connect(stub.url, retries=0).once()
