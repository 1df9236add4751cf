"""The pages for people. Every list is readable without scripts; a small one of our own keeps a page fresh."""

import time
from functools import cache
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from exporter.web.ui import export, pages
from exporter.web.ui.answer_form import form_of
from exporter.web.ui.answers import PastIncidents
from exporter.web.ui.not_answered import NotAnswered
from exporter.web.ui.now import now_answer
from exporter.web.ui.page_response import HEADERS, PageEndpoints, neighbours
from exporter.web.ui.parameters import asked_for, filter_of, once_each
from exporter.web.ui.past import past_answer
from exporter.web.ui.related import related_answer
from exporter.web.ui.related_answers import Related
from exporter.web.ui.related_routes import moved_of
from exporter.web.ui.series import Asked, series_answer
from exporter.web.ui.series_answers import Ambiguous, Series
from exporter.web.ui.status import status_answer

_STATIC: Final = {
    "ui.css": "text/css",
    "ui.js": "text/javascript",
    "curves.js": "text/javascript",
    "completion.js": "text/javascript",
    "workbench.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
_FILES: Final = {
    "past.csv": ("text/csv", export.as_csv),
    "past.yml": ("application/yaml", export.as_incidents_file),
}
_ALL: Final = 1_000_000
_MOST_RELATED: Final = 10


class PageRoutes(PageEndpoints):
    """The endpoints of the pages."""

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
            if isinstance(answer, Ambiguous):
                return pages.choice_page(answer)
            form = form_of(self._running, self._rights, request, answer, asked.since, time.time())
            return pages.series_page(answer, asked, form, self._related(answer, asked))

        return await self._page(page, self._slow)

    def _related(self, answer: Series, asked: Asked) -> Related | None:
        """Return what else moved when the incident began that the page is about, None where it is about none."""
        if answer.incident is None and answer.past is None:
            return None
        key = tuple(sorted(answer.labels.items()))
        try:
            at = moved_of(self._running, asked.job, key, asked.since)
        except NotAnswered:
            return None
        return related_answer(self._running, asked.job, key, at, most=_MOST_RELATED)

    async def past(self, request: Request) -> Response:
        """List incidents that are over."""

        def page() -> str:
            answer, asked = self._past(request)
            links = neighbours(asked, answer.offset, len(answer.incidents), answer.next)
            return pages.past_page(answer, asked, list(self._running.facts().jobs), links)

        return await self._page(page)

    async def file(self, request: Request) -> Response:
        """Hand out incidents that are over as a file."""
        name = request.url.path.rpartition("/")[2]
        kind, write = _FILES[name]

        def text() -> str:
            return write(self._past(request, _ALL)[0].incidents)

        return await self._file(name, kind, text)

    async def static(self, request: Request) -> Response:
        """Hand out a file of ours."""
        name = request.url.path.rpartition("/")[2]
        return Response(static_file(name), media_type=_STATIC[name], headers=HEADERS)

    def _past(self, request: Request, limit: int | None = None) -> tuple[PastIncidents, dict[str, str]]:
        """Return what is asked for, and how. Raises BadParameter."""
        parameters = request.query_params.multi_items()
        asked = once_each(parameters, [name for name, _ in parameters])
        return past_answer(self._running, filter_of(parameters, limit), time.time()), asked


@cache
def static_file(name: str) -> bytes:
    """Return a file of ours."""
    return (files("exporter.web.ui") / "static" / name).read_bytes()
