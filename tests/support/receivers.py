"""Where Alertmanager's messages arrive instead of Slack, PagerDuty, another program or a mail server."""

import json
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests

from deploy.demo.servers import AlertmanagerServer
from tests.support.waiting import PATIENCE


@dataclass(frozen=True)
class Post:
    """One request: when (monotonic seconds), where to, what, and with which credentials."""

    at: float
    path: str
    body: dict[str, Any]
    authorization: str | None


@dataclass
class Inbox:
    """Takes every POST and answers 202, as PagerDuty does."""

    posts: list[Post] = field(default_factory=list)

    def __enter__(self) -> "Inbox":
        posts = self.posts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                posts.append(Post(time.monotonic(), self.path, body, self.headers["Authorization"]))
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def to(self, path: str) -> list[Post]:
        """Return what arrived at a path."""
        return [post for post in self.posts if post.path == path]


@dataclass
class Letters:
    """An aiosmtpd handler that keeps what it gets."""

    received: list[Any] = field(default_factory=list)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.received.append(envelope)
        return "250 OK"


def tell(server: AlertmanagerServer, *alerts: dict[str, str], over: bool = False, **annotations: str) -> None:
    """Send alerts to Alertmanager by their labels, as firing or as over."""
    now = time.time()

    def stamp(seconds: float) -> str:
        return datetime.fromtimestamp(seconds, UTC).isoformat()

    ends = {"endsAt": stamp(now)} if over else {"endsAt": stamp(now + 3600)}
    texts = {"summary": "S", "description": "D", **annotations}
    body = [{"labels": labels, "annotations": texts, "startsAt": stamp(now - over), **ends} for labels in alerts]
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(f"{server.url}/api/v2/alerts", json=body, timeout=PATIENCE)
    assert answer.ok, answer.text
