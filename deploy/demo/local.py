"""Small HTTP servers on loopback, each in a thread: what Prometheus scrapes and Alertmanager notifies in the demo."""

import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


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
                """Log nothing: the terminal belongs to the demo."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"

    def get(self) -> str:
        """Return the body of the answer to any GET."""
        return ""

    def post(self, body: bytes) -> str:  # noqa: ARG002 - for subclasses
        """Receive the body of any POST and return that of the answer."""
        return ""

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), name=type(self).__name__, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass(frozen=True, slots=True)
class Message:
    """A message as Slack would show it."""

    title: str
    text: str

    @property
    def resolved(self) -> bool:
        """Whether the alert has ended."""
        return self.title.startswith("[RESOLVED")


class SlackReceiver(LocalServer):
    """Receives the messages of Alertmanager in place of Slack."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Message] = []

    @property
    def webhook(self) -> str:
        """Address for `slack_configs.api_url`."""
        return f"http://{self.address}/services/demo"

    def post(self, body: bytes) -> str:
        """Receive one message."""
        payload: dict[str, Any] = json.loads(body)
        self.messages += [Message(part.get("title", ""), part.get("text", "")) for part in payload["attachments"]]
        return "ok"
