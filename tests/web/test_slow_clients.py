"""Clients that are slow, silent or too many."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
import trustme

from exporter.config.sections.service import WebTLS
from exporter.sinks.metrics_page import Page
from exporter.web import connection_limits
from exporter.web.server import Server
from tests.support.verdicts import key, verdict
from tests.support.waiting import eventually

Serve = Callable[..., Server]
SHORT = 0.6
"""The deadlines of these tests, instead of five seconds."""
LONG = 60 * SHORT
"""Beyond any deadline, however busy the machine is."""


@pytest.fixture(autouse=True)
def short_deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "HEADER_SECONDS", SHORT)


@pytest.fixture
def connect() -> Iterator[Callable[[Server], socket.socket]]:
    with ExitStack() as stack:
        yield lambda server: stack.enter_context(socket.create_connection(server.address, timeout=10))


Connect = Callable[[Server], socket.socket]


def cut_after(connection: socket.socket, drip: bytes = b"", limit: float = LONG) -> float:
    """Send a byte of `drip` now and then; return the seconds until the server cuts the connection, `limit` at most."""
    begun = time.monotonic()
    connection.settimeout(SHORT / 6)
    position = 0
    while time.monotonic() - begun < limit:
        try:
            if drip:
                connection.sendall(drip[position : position + 1])
                position = min(position + 1, len(drip) - 1)
            if connection.recv(65536) == b"":
                break
        except TimeoutError:
            continue
        except (ConnectionResetError, BrokenPipeError):
            break
    return time.monotonic() - begun


def ask(connection: socket.socket) -> None:
    """Send one request and read its answer."""
    connection.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = b""
    while not answer.endswith(b"\r\n\r\nOK\n"):
        piece = connection.recv(65536)
        assert piece
        answer += piece


def test_a_silent_connection_is_cut(serve: Serve, connect: Connect) -> None:
    """Row 34."""
    assert SHORT * 0.9 < cut_after(connect(serve())) < LONG


@pytest.mark.parametrize("drip", [b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"a" * 1_000, b"G" * 1_000])
def test_headers_that_trickle_in_are_cut_at_a_total_deadline(serve: Serve, connect: Connect, drip: bytes) -> None:
    """Row 34: each byte is well within the deadline, all together are not."""
    assert SHORT * 0.9 < cut_after(connect(serve()), drip) < LONG


def test_a_second_request_that_trickles_in_is_cut_too(serve: Serve, connect: Connect) -> None:
    """Row 34."""
    connection = connect(serve())
    ask(connection)
    assert SHORT * 0.9 < cut_after(connection, b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"a" * 1_000) < LONG


def test_an_idle_connection_is_kept_for_the_next_scrape(serve: Serve, connect: Connect) -> None:
    connection = connect(serve())
    for _ in range(3):
        ask(connection)
        time.sleep(1.5 * SHORT)
    ask(connection)


def test_the_rest_of_a_body_is_not_waited_for(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_limits, "HEADER_SECONDS", 10 * LONG)  # no deadline cuts it
    connection = connect(serve())
    connection.sendall(b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc")
    assert connection.recv(65536).startswith(b"HTTP/1.1 403")
    assert cut_after(connection, b"x" * 1_000) < LONG


def test_one_who_does_not_read_is_cut(
    serve: Serve, connect: Connect, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_limits, "ANSWER_SECONDS", 2 * SHORT)
    page.publish(verdict(tuple(key(pod="x" * 1_000, n=str(n)) for n in range(20_000))), ())
    page.render()
    server = serve()
    deaf = connect(server)
    deaf.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    received = len(deaf.recv(1_000))
    assert eventually(lambda: not server._uvicorn.server_state.connections, within=LONG)
    with suppress(ConnectionResetError):
        while piece := deaf.recv(2**20):
            received += len(piece)
    assert received < len(page.current.body)


def test_an_answer_may_take_longer_than_a_request(serve: Serve, connect: Connect, page: Page) -> None:
    """The deadline for headers is over when they are there."""
    page.publish(verdict(tuple(key(pod="x" * 1_000, n=str(n)) for n in range(20_000))), ())
    page.render()
    slow = connect(serve())
    slow.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = slow.recv(1_000)
    time.sleep(2 * SHORT)
    while piece := slow.recv(2**20):
        answer += piece
    assert answer.endswith(page.current.body[-1_000:])


def test_a_tls_handshake_that_never_comes_is_cut(
    serve: Serve, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 34."""
    monkeypatch.setattr("exporter.web.server.HEADER_SECONDS", SHORT)
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    server = serve(tls=WebTLS(cert_file=tmp_path / "both.pem", key_file=tmp_path / "both.pem"))
    assert SHORT * 0.9 < cut_after(connect(server)) < LONG
    context = ssl.create_default_context()
    authority.configure_trust(context)
    with httpx.Client(verify=context, trust_env=False) as client:
        assert client.get(f"{server.url}/-/healthy").status_code == 200


def test_scrapes_get_through_a_thousand_slow_clients(serve: Serve, page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 34: 500 silent and 500 trickling against 100 places; those silent longest have to go, no scrape fails."""
    monkeypatch.setattr(connection_limits, "HEADER_SECONDS", 5.0)
    server = serve(max_connections=100)
    with ExitStack() as stack:
        slow = []
        for n in range(1_000):
            slow.append(stack.enter_context(socket.create_connection(server.address, timeout=10)))
            if n % 2:
                with suppress(OSError):
                    slow[-1].sendall(b"GET /metrics HTTP/1.1\r\nX: ")
            if n % 50 == 0:
                answer = httpx.get(f"{server.url}/metrics", trust_env=False, timeout=10)
                assert answer.content == page.current.body
        httpx.get(f"{server.url}/metrics", trust_env=False, timeout=10)  # the server has seen all of them by then
        left = 0
        for connection in slow:
            connection.settimeout(0.001)
            try:
                left += connection.recv(1) != b""
            except TimeoutError:
                left += 1
            except ConnectionResetError:
                pass
        assert left <= 100


def test_a_connection_that_is_being_answered_is_not_the_one_to_go(
    serve: Serve, connect: Connect, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.publish(verdict(tuple(key(pod="x" * 1_000, n=str(n)) for n in range(20_000))), ())
    page.render()
    server = serve(max_connections=8)
    scraper = connect(server)
    scraper.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    answer = scraper.recv(1_000)
    for _ in range(30):
        connect(server)
    while piece := scraper.recv(2**20):
        answer += piece
    assert answer.endswith(page.current.body[-1_000:])
