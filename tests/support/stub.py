"""A tiny scripted HTTP server."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs


@dataclass(frozen=True)
class Request:
    """What the stub was asked; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}


@dataclass(frozen=True)
class Reply:
    """What the stub answers. `raw` goes out as it is, and the connection is closed after it."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    delay: float = 0.0


def matrix(*series: tuple[dict[str, str], list[tuple[float, str]]], **beside: Any) -> bytes:
    """Return the body of a range query's answer, as Prometheus writes it."""
    result = [{"metric": labels, "values": values} for labels, values in series]
    data = {"resultType": "matrix", "result": result}
    return json.dumps({"status": "success", "data": data, **beside}, separators=(",", ":")).encode()


ONE = matrix(({"__name__": "up", "job": "node"}, [(60.0, "1")]))
"""One series with one sample at 60 s."""


class Stub:
    """Answers by the script: the replies in order, the last again and again, or a function of the request."""

    def __init__(self, *script: Reply | Callable[[Request], Reply]) -> None:
        self.script = list(script)
        self.requests: list[Request] = []
        self.connections = 0
        self.url = ""
        self.closing = threading.Event()
        self._lock = threading.Lock()

    def reply(self, request: Request) -> Reply:
        with self._lock:
            step = self.script[min(len(self.requests), len(self.script) - 1)]
            self.requests.append(request)
        return step if isinstance(step, Reply) else step(request)


def _handler(stub: Stub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            with stub._lock:
                stub.connections += 1

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = stub.reply(Request(self.command, self.path, headers, body, time.monotonic()))
            if reply.delay and stub.closing.wait(reply.delay):
                self.close_connection = True  # nobody waits for it any more
                return
            try:
                if reply.raw is not None:
                    self.wfile.write(reply.raw)
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(reply.body)
            except OSError:
                self.close_connection = True  # the client had enough

        do_GET = do_POST = _answer  # noqa: N815  # the names http.server looks for

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that cut the connection are what the tests are about


@contextmanager
def serve(*script: Reply | Callable[[Request], Reply], tls: ssl.SSLContext | None = None) -> Iterator[Stub]:
    """Run a stub on a free loopback port."""
    stub = Stub(*script)
    server = _Server(("127.0.0.1", 0), _handler(stub))
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    stub.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        stub.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
