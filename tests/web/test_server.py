"""The pages and their protocol."""

import gzip
import http.client
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import numpy as np
import pytest

from exporter.config.sections.service import WebConfig
from exporter.openmetrics import CLASSIC_TYPE
from exporter.sinks.metrics_page import Page
from exporter.web import routes
from exporter.web.server import Callbacks, Server, ServerError
from tests.support.verdicts import key, verdict

Serve = Callable[..., Server]


@pytest.fixture
def client() -> httpx.Client:
    with httpx.Client(trust_env=False) as client:
        yield client


def raw(server: Server, request: bytes) -> bytes:
    """Send bytes, return all that comes back until the server closes."""
    with socket.create_connection(server.address, timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def test_metrics_hands_out_the_rendered_bytes(serve: Serve, page: Page, client: httpx.Client) -> None:
    server = serve()
    answer = client.get(f"{server.url}/metrics", headers={"Accept-Encoding": "identity"})
    assert answer.content == page.current.body
    assert answer.headers["content-type"] == CLASSIC_TYPE == "text/plain; version=0.0.4; charset=utf-8"
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("accepted", ["gzip", "deflate, gzip;q=0.5", "GZIP ; q=1"])
def test_metrics_is_compressed_for_those_who_ask(serve: Serve, page: Page, client: httpx.Client, accepted: str) -> None:
    answer = client.get(f"{serve().url}/metrics", headers={"Accept-Encoding": accepted})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.content == page.current.body


@pytest.mark.parametrize("accepted", ["gzip;q=0", "gzip; q=0.000", "gzipped", "br", "*;q=0"])
def test_metrics_is_not_compressed_for_others(serve: Serve, client: httpx.Client, accepted: str) -> None:
    answer = client.get(f"{serve().url}/metrics", headers={"Accept-Encoding": accepted})
    assert "content-encoding" not in answer.headers


def test_head_says_the_length_and_sends_nothing(serve: Serve, page: Page) -> None:
    head, _, body = raw(serve(), b"HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").partition(
        b"\r\n\r\n"
    )
    assert f"content-length: {len(page.current.body)}".encode() in head
    assert body == b""


def test_a_connection_serves_scrape_after_scrape(serve: Serve, page: Page) -> None:
    connection = http.client.HTTPConnection(*serve().address, timeout=10)
    for _ in range(3):
        connection.request("GET", "/metrics")
        assert connection.getresponse().read() == page.current.body
    connection.close()


def test_healthy_while_alive_and_ready_after_the_first_verdict(serve: Serve, client: httpx.Client) -> None:
    judged = threading.Event()
    server = serve(ready=judged.is_set)
    assert client.get(f"{server.url}/-/healthy").status_code == 200
    answer = client.get(f"{server.url}/-/ready")
    assert answer.status_code == 503
    assert "no job has been judged yet" in answer.text
    judged.set()
    assert client.get(f"{server.url}/-/ready").status_code == 200


def test_the_index_links_to_what_there_is(serve: Serve, client: httpx.Client) -> None:
    server = serve()
    answer = client.get(server.url)
    assert answer.headers["content-type"].startswith("text/html")
    for path in ("metrics", "-/healthy", "-/ready"):
        assert f'href="{path}"' in answer.text
        assert client.get(f"{server.url}/{path}").status_code == 200


@pytest.mark.parametrize(
    "path", ["/nothing-here", "/metrics/", "/-/", "//metrics", "/..%2f..%2fetc/passwd", "/%3Cscript%3E", "/metrics%00"]
)
def test_other_paths_are_not_found_and_not_repeated(serve: Serve, path: str) -> None:
    """Row 35: no redirect either, which would be built from the Host header."""
    answer = raw(serve(), f"GET {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404")
    assert b"Traceback" not in answer
    for echo in (b"evil.example", b"nothing-here", b"passwd", b"script"):
        assert echo not in answer


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /metrics?" + b"name[]=x&" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 50_000 + b"\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
        b"GET\r\n\r\n",
    ],
    ids=["target", "parameters", "header", "headers", "two-lengths", "encodings", "space", "nul", "tls", "garbage"],
)
def test_monstrous_and_malformed_requests_are_refused(serve: Serve, client: httpx.Client, request_bytes: bytes) -> None:
    """Row 35."""
    server = serve()
    try:
        answer = raw(server, request_bytes)
    except OSError:
        answer = b"HTTP/1.1 4"  # it closed before it had read all of it, which is as good
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501")), answer[:100]
    assert b"Traceback" not in answer
    assert client.get(f"{server.url}/-/healthy").status_code == 200


def test_no_parameter_of_a_request_has_any_effect(serve: Serve, page: Page, client: httpx.Client) -> None:
    """Row 19."""
    server = serve()
    for query in ("target=http://169.254.169.254/", "query=up", "url=file:///etc/passwd", "module=x&match[]={}"):
        answer = client.get(f"{server.url}/metrics?{query}", headers={"Accept-Encoding": "identity"})
        assert answer.content == page.current.body


def test_answers_say_how_browsers_shall_treat_them(serve: Serve, client: httpx.Client) -> None:
    for path in ("/", "/metrics", "/none"):
        headers = client.get(f"{serve().url}{path}").headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "server" not in headers


def test_reload_is_off_unless_switched_on(serve: Serve, client: httpx.Client) -> None:
    """Row 33."""
    calls: list[int] = []
    server = serve(reload=lambda: calls.append(1))
    answer = client.post(f"{server.url}/-/reload")
    assert answer.status_code == 403
    assert "web.enable_reload" in answer.text
    assert not calls


def test_reload_takes_post_and_put_but_neither_get_nor_browsers(serve: Serve, client: httpx.Client) -> None:
    """Row 33."""
    calls: list[int] = []
    url = f"{serve(enable_reload=True, reload=lambda: calls.append(1)).url}/-/reload"
    assert client.post(url).status_code == 200
    assert client.put(url).status_code == 200
    assert len(calls) == 2
    assert client.get(url).status_code == 405
    assert client.post(url, headers={"Origin": "http://evil.example"}).status_code == 403
    assert len(calls) == 2


def test_a_failed_reload_says_why(serve: Serve, client: httpx.Client) -> None:
    """Row 31."""
    answer = client.post(f"{serve(enable_reload=True, reload=lambda: 'jobs.cpu: unknown key').url}/-/reload")
    assert answer.status_code == 500
    assert "jobs.cpu: unknown key" in answer.text


def test_a_reload_that_breaks_gives_no_traceback(
    serve: Serve, client: httpx.Client, capfd: pytest.CaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("inner secret")

    server = serve(enable_reload=True, reload=broken)
    answer = client.post(f"{server.url}/-/reload")
    assert answer.status_code == 500
    assert answer.headers["connection"] == "close"
    assert "inner secret" not in answer.text
    assert client.get(f"{server.url}/-/healthy").status_code == 200
    out, err = capfd.readouterr()
    assert "Traceback" not in out + err


def test_a_hundred_reloads_at_once_load_twice_and_never_at_the_same_time(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows 31 and 33: the second load is for those who came when the first had perhaps read its files already."""
    alone: list[bool] = []
    running, begun, released, arrived = threading.Lock(), threading.Event(), threading.Event(), threading.Semaphore(0)
    join = routes._Coalesced.__call__

    def counted(coalesced: routes._Coalesced) -> Coroutine[None, None, str | None]:
        arrived.release()  # on the event loop, which joins the load before it looks at anything else
        return join(coalesced)

    def load() -> None:
        alone.append(running.acquire(blocking=False))
        begun.set()
        assert released.wait(60)
        running.release()

    monkeypatch.setattr(routes._Coalesced, "__call__", counted)
    server = serve(enable_reload=True, reload=load)
    with ExitStack() as stack:
        askers = [stack.enter_context(socket.create_connection(server.address, timeout=60)) for _ in range(100)]
        for asker in askers:
            asker.sendall(b"POST /-/reload HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert begun.wait(60)  # the first one is loading before the others ask
        for _ in askers:
            assert arrived.acquire(timeout=60)
        released.set()
        for asker in askers:
            assert asker.makefile("rb").read().endswith(b"Reloaded.\n")
    assert alone == [True, True]


def test_scrapes_go_on_during_a_reload(serve: Serve, client: httpx.Client) -> None:
    """Row 31."""
    inside, done = threading.Event(), threading.Event()

    def load() -> None:
        inside.set()
        done.wait(10)

    server = serve(enable_reload=True, reload=load)
    with ThreadPoolExecutor(1) as pool:
        reload = pool.submit(httpx.post, f"{server.url}/-/reload", timeout=20, trust_env=False)
        assert inside.wait(5)
        assert client.get(f"{server.url}/metrics").status_code == 200
        assert not reload.done()
        done.set()
        assert reload.result().status_code == 200


def test_fifty_scrapers_get_the_ready_bytes(serve: Serve, page: Page) -> None:
    """Row 36: nothing is rendered and nothing is compressed twice."""
    page.publish(verdict(tuple(key(pod=f"p{n}") for n in range(10_000))), ("lower", "upper"))
    page.render()
    snapshot = page.current
    url = f"{serve().url}/metrics"

    def scrape(n: int) -> bytes:
        encoding = "gzip" if n % 2 else "identity"
        return httpx.get(url, timeout=30, trust_env=False, verify=False, headers={"Accept-Encoding": encoding}).content

    with ThreadPoolExecutor(50) as pool:
        assert all(body == snapshot.body for body in pool.map(scrape, range(50)))
    assert page.current is snapshot
    assert snapshot.compressed is not None
    assert gzip.decompress(snapshot.compressed) == snapshot.body


@pytest.fixture
def quick_threads() -> Iterator[None]:
    """Let threads take turns often: more chances for a mixed page, and less waiting."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0001)
    yield
    sys.setswitchinterval(before)


def test_ten_thousand_scrapes_under_churn_see_whole_pages_only(serve: Serve, page: Page, quick_threads: None) -> None:
    """Row 37: every answer is one of the rendered pages, byte for byte, compressed or not."""
    rendered = {hash(page.current.body)}
    address = serve().address
    stop = threading.Event()

    def churn() -> None:
        cycle = 0
        while not stop.is_set():
            cycle += 1
            keys = tuple(key(pod=f"p{n}") for n in range(cycle % 7, 20 + cycle % 5))
            page.publish(verdict(keys, score=np.full(len(keys), float(cycle))), ("lower",))
            page.render()
            rendered.add(hash(page.current.body))
            time.sleep(0.002)

    publisher = threading.Thread(target=churn)
    publisher.start()
    seen: set[int] = set()
    sockets = [socket.create_connection(address, timeout=20) for _ in range(8)]
    connections = [one.makefile("rwb") for one in sockets]
    for _ in range(1_250):
        for n, connection in enumerate(connections):
            connection.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"Accept-Encoding: gzip\r\n" * (n % 2) + b"\r\n")
            connection.flush()
        for n, connection in enumerate(connections):
            head = dict(line.rstrip().split(b": ") for line in iter(connection.readline, b"\r\n") if b": " in line)
            body = connection.read(int(head[b"content-length"]))
            seen.add(hash(gzip.decompress(body) if n % 2 else body))
    stop.set()
    publisher.join()
    for closing in (*connections, *sockets):
        closing.close()
    assert len(seen) > 20
    assert seen <= rendered


def test_a_port_in_use_is_one_clear_error_and_starts_nothing(page: Page) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        before = threading.active_count()
        with pytest.raises(ServerError, match=f"web.listen: cannot listen on {listen}: another process has this port"):
            Server(WebConfig(listen=listen), page, Callbacks(lambda: True, lambda: None)).start()
        assert threading.active_count() == before


@pytest.mark.parametrize(
    ("listen", "cause"),
    [
        ("203.0.113.7:0", "does not have that address"),
        ("no-such-host.invalid:0", "cannot listen on no-such-host.invalid:0: "),
        ("x" * 80 + ":0", "cannot listen on x"),
    ],
)
def test_an_address_that_cannot_be_had_names_itself_and_the_cause(page: Page, listen: str, cause: str) -> None:
    with pytest.raises(ServerError, match=cause):
        Server(WebConfig(listen=listen), page, Callbacks(lambda: True, lambda: None)).start()


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:0", ":0", "[::1]:0", "[::]:0"])
def test_the_address_says_what_is_really_bound(page: Page, client: httpx.Client, listen: str) -> None:
    server = Server(WebConfig(listen=listen), page, Callbacks(lambda: True, lambda: None))
    server.start()
    port = server.address[1]
    assert port > 0
    assert server.url.endswith(f":{port}")
    host = "[::1]" if listen == "[::1]:0" else "127.0.0.1"
    assert client.get(f"http://{host}:{port}/-/healthy").status_code == 200
    server.stop()


def test_stop_frees_the_port_and_leaves_no_thread(page: Page) -> None:
    before = threading.active_count()
    config = WebConfig(listen="127.0.0.1:0")
    for _ in range(3):
        server = Server(config, page, Callbacks(lambda: True, lambda: None))
        server.start()
        config = WebConfig(listen=f"127.0.0.1:{server.address[1]}")
        idle = http.client.HTTPConnection(*server.address, timeout=5)
        idle.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
        idle.getresponse().read()
        silent = socket.create_connection(server.address)
        server.stop()
        server.stop()
        idle.close()
        silent.close()
        assert threading.active_count() == before


def test_stop_lets_a_running_answer_finish(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporter.web.server._GRACE", 60)  # how long a busy machine needs is not the point
    page.publish(verdict(tuple(key(pod="x" * 1_000, n=str(n)) for n in range(20_000))), ())
    page.render()
    server = Server(WebConfig(listen="127.0.0.1:0"), page, Callbacks(lambda: True, lambda: None))
    server.start()
    with socket.create_connection(server.address, timeout=10) as slow:
        slow.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = slow.recv(1_000)
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        while piece := slow.recv(2**20):
            answer += piece
        stopping.join()
    assert answer.partition(b"\r\n\r\n")[2] == page.current.body


def test_stop_does_not_wait_for_one_who_does_not_read(page: Page) -> None:
    page.publish(verdict(tuple(key(pod="x" * 1_000, n=str(n)) for n in range(20_000))), ())
    page.render()
    server = Server(WebConfig(listen="127.0.0.1:0"), page, Callbacks(lambda: True, lambda: None))
    server.start()
    with socket.create_connection(server.address, timeout=10) as deaf:
        deaf.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        deaf.recv(1_000)
        server.stop()  # gives up after seven seconds, and then leaves its thread
    assert not [thread for thread in threading.enumerate() if thread.name == "web"]


def test_uvicorn_says_nothing(serve: Serve, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture) -> None:
    server = serve()
    with caplog.at_level(logging.DEBUG):
        raw(server, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        raw(server, b"nonsense\r\n\r\n")
    assert not [record for record in caplog.records if record.name.startswith(("uvicorn", "asyncio"))]
    out, err = capfd.readouterr()
    assert "uvicorn" not in (out + err).lower()
