"""Requests to every endpoint of the API and every page, as the web server hands them over: path, parameters, body."""

import asyncio
import atexit

from exporter.config.sections.service import WebConfig
from exporter.observe.metrics import SelfMetrics
from exporter.sinks.metrics_page import Page
from exporter.web.routes import Callbacks, build
from exporter.web.ui.openapi import document
from tests.support.pages import Watched
from tests.support.verdicts import key

OURS = ()  # it answers
_WATCHED = Watched()
_WATCHED.minutes((key(instance="a"), key(instance="b")), 60, lambda ago: [ago < 10, 20 < ago < 30])
_PAGE = Page(SelfMetrics())
_APP = build(
    _PAGE,
    Callbacks(lambda: True, lambda: None, feed=_WATCHED.feed, running=_WATCHED.running),
    WebConfig(enable_reload=True),
    lambda app: app,
)
_LOOP = asyncio.new_event_loop()
atexit.register(_LOOP.close)
_PATHS = tuple(
    f"{method.upper()} {path}?job=cpu&instance=a" for path, ways in document()["paths"].items() for method in ways
)
_MORE = (
    *("GET /?job=cpu", "GET /metrics", "POST /-/accept?job=cpu&match=instance%3Da", "GET /api/v1/anomalies?flag=true&job=cpu"),
    *("GET /jobs/cpu?from=2026-01-05T10:00&to=2026-01-05T11:00", "GET /incidents?page=2", "GET /series?labels=%7B%7D&span=1h"),
)  # fmt: skip
_BODY = (
    '{"job":"cpu","labels":{"instance":"a"},"kind":"expected","jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}'
)
SEEDS = tuple(
    f"{asked}\ncontent-type: application/json\n\n{'' if asked.startswith('GET') else _BODY}".encode()
    for asked in (*_PATHS, *_MORE, "POST /mcp")
)


def read(data: bytes) -> None:
    head, _, body = data.partition(b"\n\n")
    line, *fields = head.split(b"\n")
    method, _, target = line.partition(b" ")
    path, _, query = target.partition(b"?")
    headers = [tuple(each.strip() for each in field.split(b":", 1)) for field in fields if b":" in field]
    sent: list[dict] = []
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": "",
        "method": method.decode("latin-1").upper() or "GET", "path": path.decode("utf-8", "replace"), "raw_path": path,
        "query_string": query, "headers": [(b"host", b"localhost"), *((name.lower(), value) for name, value in headers)],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
    }  # fmt: skip

    async def receive() -> dict:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict) -> None:
        sent.append(message)

    _LOOP.run_until_complete(_APP(scope, receive, send))
    status = sent[0]["status"]
    assert status < 500 or status == 503, f"status {status} for {line!r}"
    answer = b"".join(each.get("body", b"") for each in sent[1:])
    assert b"Traceback" not in answer
