"""Bytes of a connection to the real port, as anybody can send them."""

import atexit
import socket
from contextlib import suppress

from exporter.config.sections.service import WebConfig
from exporter.observe.metrics import SelfMetrics
from exporter.sinks.metrics_page import Page
from exporter.web.server import Callbacks, Server

OURS = ()  # it answers, or hangs up
SEEDS = (
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n",
    b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\nGET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled",
    b"GET http://169.254.169.254/latest HTTP/1.1\r\nHost: y\r\n\r\n",
    b"HEAD /..%2f..%2fetc/passwd HTTP/1.0\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
    b"PUT /mcp HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n",
)  # fmt: skip
_SERVER = Server(WebConfig(listen="127.0.0.1:0"), Page(SelfMetrics()), Callbacks(lambda: True, lambda: None))
_SERVER.start()
atexit.register(_SERVER.stop)
_PATIENCE = 60.0


def _answer(data: bytes) -> bytes:
    with socket.create_connection(_SERVER.address, timeout=_PATIENCE) as connection:
        found = b""
        with suppress(ConnectionError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65536):
                found += piece
        return found


def read(data: bytes) -> None:
    found = _answer(data)
    if found:
        assert found.startswith(b"HTTP/1.1 "), found[:80]
        assert found[9:10] in b"1234" or found.startswith(b"HTTP/1.1 503"), found[:80]
        assert b"Traceback" not in found
    assert _answer(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").endswith(b"OK\n")
