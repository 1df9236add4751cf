"""The endpoints of our own port. No parameter of a request reaches the source."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Final

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from exporter import __version__
from exporter.config.sections.service import WebConfig
from exporter.openmetrics import negotiate
from exporter.sinks.latest import LatestVerdicts
from exporter.sinks.metrics_page import Page, Snapshot
from exporter.web.api import (
    Accept,
    Configuration,
    accepted,
    anomalies,
    configuration,
    no_configuration,
    nothing_to_accept,
)
from exporter.web.guards import DefaultPolicy, Limits
from exporter.web.mcp.endpoint import McpEndpoint
from exporter.web.ui.facts import Running
from exporter.web.ui.routes import ui_routes

log = structlog.get_logger()

_REFUSED: Final = re.compile(r"\s*q\s*=\s*0(\.0*)?\s*")
_CHUNK: Final = 256 * 1024

_INDEX: Final = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>anomaly-exporter</title></head>
<body>
<h1>anomaly-exporter {version}</h1>
<p>Judges Prometheus series and republishes them as <code>anomaly_score</code>: above 1 is anomalous.</p>
{leader}<ul>
<li><a href="metrics">/metrics</a>: scores, flags and the exporter's own metrics; scrape it with
<code>honor_labels: true</code></li>
<li><a href="api/v1/anomalies?flag=true">/api/v1/anomalies</a>: the open incidents, or all that was judged, as JSON</li>
<li><a href="api/v1/config">/api/v1/config</a>: digests of the configuration, for
<code>check-config --against</code></li>
<li><a href="-/healthy">/-/healthy</a>: the process is alive</li>
<li><a href="-/ready">/-/ready</a>: something was judged; {ready}</li>
<li>/-/reload: POST loads the configuration again; {reload}</li>
<li>/-/accept?job=…&amp;match=…: POST makes the level of open incidents normal; {reload}</li>
</ul>
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What the pages ask of the exporter.

    Parameters
    ----------
    ready : callable returning bool
        Whether the page shows a verdict. Called on the event loop, so it must not wait for anything.
    reload : callable returning str or None
        Loads the configuration again; None if that worked, else what is wrong. Called in a thread, one at a time.
    feed : LatestVerdicts
        The newest verdicts.
    accept : callable taking the name of a job and entities
        Makes the level of their incidents normal; returns the seconds between two cycles. Raises UnknownJob.
    configuration : callable returning a dict
        Digests of the active configuration. Called in a thread.
    running : Running or None
        Where the pages for people look; None: there are none.
    leader : callable returning str
        Who leads of several exporters, "" where there is but one.
    """

    ready: Callable[[], bool]
    reload: Callable[[], str | None]
    feed: LatestVerdicts = field(default_factory=LatestVerdicts)
    accept: Accept = nothing_to_accept
    configuration: Configuration = no_configuration
    running: Running | None = None
    leader: Callable[[], str] = lambda: ""


class _Pieces(Response):
    """An answer sent in pieces: a slow reader costs one piece of memory, not one page."""

    def __init__(self, parts: Iterable[bytes], size: int, headers: Mapping[str, str]) -> None:
        super().__init__(headers={**headers, "Content-Length": str(size)})
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the interface
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for part in self._parts if scope["method"] != "HEAD" else ():
            for start in range(0, len(part), _CHUNK):
                piece = part[start : start + _CHUNK]
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class _Coalesced:
    """Runs a slow call in a thread; all who come while it runs share the one that follows."""

    def __init__(self, call: Callable[[], str | None]) -> None:
        self._call = call
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[str | None] | None = None

    async def __call__(self) -> str | None:
        if self._next is None:
            self._next = asyncio.create_task(self._run())
        return await asyncio.shield(self._next)

    async def _run(self) -> str | None:
        async with self._turn:
            self._next = None  # who comes from now on may have changed a file that this call has read already
            return await asyncio.to_thread(self._call)


class Routes:
    """The endpoints."""

    def __init__(self, page: Page, hooks: Callbacks, enable_reload: bool) -> None:
        self._page = page
        self._hooks = hooks
        self._enable_reload = enable_reload
        self._reload = _Coalesced(hooks.reload)
        self._compressing = asyncio.Lock()

    async def metrics(self, request: Request) -> Response:
        """Hand out the newest page as it is, in the form that is asked for."""
        form, content_type = negotiate(",".join(request.headers.getlist("accept")))
        snapshot = self._page.ready(form)
        if snapshot is None:
            snapshot = await asyncio.to_thread(self._page.in_form, form)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if not accepts_gzip(request.headers.get("accept-encoding", "")):
            return _Pieces(snapshot.pieces(), snapshot.size, headers)
        body = snapshot.compressed or await self._compress(snapshot)
        return _Pieces((body,), len(body), headers | {"Content-Encoding": "gzip"})

    async def _compress(self, snapshot: Snapshot) -> bytes:
        async with self._compressing:  # the others wait here rather than in a thread each
            if snapshot.compressed is not None:
                return snapshot.compressed
            return await asyncio.to_thread(snapshot.gzip)

    async def anomalies(self, request: Request) -> Response:
        """Answer what is asked about the newest verdicts."""
        return await anomalies(self._hooks.feed, request)

    async def configuration(self, _request: Request) -> Response:
        """Answer which configuration is active."""
        return await configuration(self._hooks.configuration)

    async def healthy(self, _request: Request) -> Response:
        """Answer as long as the process can."""
        return PlainTextResponse("OK\n")

    async def ready(self, _request: Request) -> Response:
        """Answer 200 after the first verdict."""
        if self._hooks.ready():
            return PlainTextResponse("OK\n")
        return PlainTextResponse("Not ready: no job has been judged yet; the log says what each one waits for.\n", 503)

    async def reload(self, request: Request) -> Response:
        """Load the configuration again."""
        if barred := self._barred(request, "Reload", ", or send SIGHUP to the process"):
            return barred
        if message := await self._reload():
            return PlainTextResponse(f"The configuration was not reloaded, the one before stays: {message}\n", 500)
        return PlainTextResponse("Reloaded.\n")

    async def accept(self, request: Request) -> Response:
        """Let the level of open incidents be normal."""
        return self._barred(request, "Accept") or await accepted(self._hooks.feed, self._hooks.accept, request)

    def _barred(self, request: Request, what: str, instead: str = "") -> Response | None:
        """Return the refusal of a request that is to change something and may not."""
        if not self._enable_reload:
            return PlainTextResponse(f"{what} over HTTP is off. Set web.enable_reload: true{instead}.\n", 403)
        if "origin" in request.headers:  # only browsers send it: some page is using its visitor's login
            return PlainTextResponse(f"{what} is not for browsers. Use: curl -X POST …/-/{what.lower()}\n", 403)
        return None

    async def index(self, _request: Request) -> Response:
        """List the endpoints."""
        ready = "it is" if self._hooks.ready() else "it is not yet"
        reload = "it is on" if self._enable_reload else "it is off (web.enable_reload)"
        leader = f"<p>{escape(who)}</p>\n" if (who := self._hooks.leader()) else ""
        return HTMLResponse(_INDEX.format(version=escape(__version__), ready=ready, reload=reload, leader=leader))


def accepts_gzip(header: str) -> bool:
    """Tell whether an Accept-Encoding header allows gzip."""
    for item in header.lower().split(","):
        name, _, weight = item.partition(";")
        if name.strip() == "gzip":
            return _REFUSED.fullmatch(weight) is None
    return False


async def _refused(_request: Request, error: Exception) -> Response:
    """Answer 404 and 405 without repeating anything of the request."""
    assert isinstance(error, HTTPException)
    return PlainTextResponse(f"{error.detail}. / lists what there is.\n", error.status_code, headers=error.headers)


async def _broken(_request: Request, error: Exception) -> Response:
    log.error("page_failed", error=f"{type(error).__name__}: {error}")
    # Starlette raises the error again after this answer, and then uvicorn cuts the connection: nobody may reuse it.
    return PlainTextResponse("This page failed; the exporter's log says why.\n", 500, headers={"Connection": "close"})


def build(page: Page, hooks: Callbacks, config: WebConfig, protect: Callable[[ASGIApp], ASGIApp]) -> ASGIApp:
    """Return the application.

    Parameters
    ----------
    config : WebConfig
        Whether there are pages for people, and what may be changed over HTTP.
    protect : callable
        Wraps what needs a login.
    """
    pages = Routes(page, hooks, config.enable_reload)
    endpoint = Callable[[Request], Awaitable[Response]]
    gets: dict[str, endpoint] = {
        "/": pages.index,
        "/metrics": pages.metrics,
        "/api/v1/anomalies": pages.anomalies,
        "/api/v1/config": pages.configuration,
        "/-/healthy": pages.healthy,
        "/-/ready": pages.ready,
    }
    shown = ui_routes(hooks.running, config.may_act) if config.ui and hooks.running is not None else []
    routes = [*shown, *(Route(path, function, methods=["GET"]) for path, function in gets.items())]
    routes.append(Route("/-/reload", pages.reload, methods=["POST", "PUT"]))
    routes.append(Route("/-/accept", pages.accept, methods=["POST"]))
    if shown:
        api = Starlette(routes=shown, exception_handlers={HTTPException: _refused, Exception: _broken})
        routes.append(Route("/mcp", McpEndpoint(api), methods=["POST"]))
    app = Starlette(routes=routes, exception_handlers={HTTPException: _refused, Exception: _broken})
    app.router.redirect_slashes = False  # a redirect would be built from the Host header
    return DefaultPolicy(Limits(protect(app)))
