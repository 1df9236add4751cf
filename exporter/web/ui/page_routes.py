"""The pages for people. Every list is readable without scripts; a small one of our own keeps a page fresh."""

import time
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from exporter.sinks.latest import UnknownJob
from exporter.web.api import BadParameter
from exporter.web.ui import export, pages
from exporter.web.ui.answers import Ambiguous, PastIncidents
from exporter.web.ui.facts import Running
from exporter.web.ui.history import History
from exporter.web.ui.now import now_answer
from exporter.web.ui.parameters import asked_for, filter_of, once_each
from exporter.web.ui.past import past_answer
from exporter.web.ui.series import NoSuchSeries, series_answer
from exporter.web.ui.status import status_answer
from exporter.web.ui.turns import MANY, Busy, Turn

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""Nothing from elsewhere and nothing inline: a label that got into the page as a script would not run."""
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "X-Frame-Options": "DENY",
}
HEADERS: Final = _HEADERS
_STATIC: Final = {"ui.css": "text/css", "ui.js": "text/javascript", "icon.svg": "image/svg+xml"}
_STATIC["workbench.js"] = "text/javascript"
_FILES: Final = {
    "past.csv": ("text/csv", export.as_csv),
    "past.yml": ("application/yaml", export.as_incidents_file),
}
_ALL: Final = 1_000_000


class PageRoutes:
    """The endpoints.

    Parameters
    ----------
    running : Running
    history : History
    quick, slow : Turn
        For pages from memory, and for those that may wait for the source.
    """

    def __init__(self, running: Running, history: History, quick: Turn, slow: Turn) -> None:
        self._running, self._history, self._quick, self._slow = running, history, quick, slow

    def routes(self) -> list[Route]:
        """Return all of them."""
        gets = {"/": self.now, "/series": self.series, "/past": self.past, "/status": self.status}
        gets |= {f"/{name}": self.file for name in _FILES} | {f"/static/{name}": self.static for name in _STATIC}
        return [Route(path, function, methods=["GET"]) for path, function in gets.items()]

    async def now(self, _request: Request) -> Response:
        """Show what is wrong now."""
        return await self._page(lambda: pages.now_page(now_answer(self._running, time.time()), self._running))

    async def status(self, _request: Request) -> Response:
        """Show how the exporter itself stands."""
        reload = self._running.facts().config.web.enable_reload
        return await self._page(lambda: pages.status_page(status_answer(self._running, time.time()), reload))

    async def series(self, request: Request) -> Response:
        """Show one series, or one of its incidents."""

        def page() -> str:
            asked = asked_for(request.query_params.multi_items())
            answer = series_answer(self._running, self._history, asked, time.time())
            return pages.choice_page(answer) if isinstance(answer, Ambiguous) else pages.series_page(answer, asked)

        return await self._page(page, self._slow)

    async def past(self, request: Request) -> Response:
        """List incidents that are over."""

        def page() -> str:
            answer, asked = self._past(request)
            links = {"all": _query(asked), "before": "", "after": ""}
            if answer.next is not None:
                links["after"] = _query(asked, offset=answer.next)
            if answer.offset:
                links["before"] = _query(asked, offset=max(answer.offset - max(len(answer.incidents), 1), 0))
            return pages.past_page(answer, asked, list(self._running.facts().jobs), links)

        return await self._page(page)

    async def file(self, request: Request) -> Response:
        """Hand out incidents that are over as a file."""
        name = request.url.path.rpartition("/")[2]
        kind, write = _FILES[name]

        def text() -> str:
            return write(self._past(request, _ALL)[0].incidents)

        return await self._page(text, headers={"Content-Disposition": f"attachment; filename={name}"}, kind=kind)

    async def static(self, request: Request) -> Response:
        """Hand out a file of ours."""
        name = request.url.path.rpartition("/")[2]
        return Response(static_file(name), media_type=_STATIC[name], headers=_HEADERS)

    def _past(self, request: Request, limit: int | None = None) -> tuple[PastIncidents, dict[str, str]]:
        """Return what is asked for, and how. Raises BadParameter."""
        parameters = request.query_params.multi_items()
        asked = once_each(parameters, [name for name, _ in parameters])
        return past_answer(self._running, filter_of(parameters, limit), time.time()), asked

    async def _page(
        self,
        page: Callable[[], str],
        turn: Turn | None = None,
        headers: Mapping[str, str] | None = None,
        kind: str = "text/html",
    ) -> Response:
        try:
            text = await (turn or self._quick).run(page)
        except Busy:
            return _refused("Busy", MANY, 503)
        except BadParameter as error:
            return _refused("This address cannot be understood", f"{error}.", 400)
        except UnknownJob:
            told = "There is no job of that name now; Status lists those there are. It was renamed or removed."
            return _refused("Unknown job", told, 404)
        except NoSuchSeries as error:
            return _refused("Unknown series", str(error), 404)
        # Half of a surrogate pair cannot be UTF-8.
        return Response(text.encode("utf-8", "replace"), 200, {**_HEADERS, **(headers or {})}, kind)


def _refused(title: str, text: str, status: int) -> Response:
    more = {"Retry-After": "5"} if status == 503 else {}
    return HTMLResponse(pages.refusal_page(title, text), status, _HEADERS | more)


def _query(asked: Mapping[str, str], **more: int) -> str:
    every = {name: value for name, value in asked.items() if name not in {"offset", "limit"} | more.keys()}
    text = urlencode(every | {name: str(value) for name, value in more.items()}, errors="replace")
    return f"?{text}" if text else ""


@cache
def static_file(name: str) -> bytes:
    """Return a file of ours."""
    return (files("exporter.web.ui") / "static" / name).read_bytes()
