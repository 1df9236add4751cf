"""A small HTTP server in a thread of ours, on loopback: what Prometheus scrapes and Alertmanager calls in the demo."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


class LocalServer:
    """Serves on a free loopback port from `__enter__` to `__exit__`; subclasses override `get` and `post`."""

    def __init__(self) -> None:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(owner.get())

            def do_POST(self) -> None:
                self._answer(owner.post(self.rfile.read(int(self.headers["Content-Length"]))))

            def _answer(self, text: str) -> None:
                body = text.encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing: the terminal belongs to the demo."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"

    def get(self) -> str:
        """Return the body of the answer to any GET."""
        return ""

    def post(self, body: bytes) -> str:  # noqa: ARG002 - for subclasses
        """Take in the body of any POST and return that of the answer."""
        return ""

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name=type(self).__name__, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
