"""The JSON API of the pages: everything that they show."""

import time
from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from exporter.config.values import duration
from exporter.web.ui.facts import Running
from exporter.web.ui.job_page import job_answer
from exporter.web.ui.json_response import JsonEndpoints, as_json
from exporter.web.ui.now import jobs_answer, now_answer
from exporter.web.ui.openapi import document
from exporter.web.ui.parameters import asked_for, filter_of, job_asked_for, once_each
from exporter.web.ui.past import past_answer
from exporter.web.ui.series import series_answer
from exporter.web.ui.series_answers import Ambiguous
from exporter.web.ui.status import status_answer
from exporter.web.ui.turns import Turn


class ApiRoutes(JsonEndpoints):
    """The endpoints below /api/v1/ that the pages are made of."""

    def routes(self) -> list[Route]:
        """Return all of them."""
        gets = {
            "now": self.now,
            "jobs": self.jobs,
            "job": self.job,
            "series": self.series,
            "incidents": self.incidents,
            "status": self.status,
            "openapi.json": self.openapi,
        }
        return [Route(f"/api/v1/{path}", function, methods=["GET"]) for path, function in gets.items()]

    async def now(self, request: Request) -> Response:
        """Answer what is wrong now."""
        return await self._plain(request, now_answer)

    async def jobs(self, request: Request) -> Response:
        """Answer how all jobs stand."""
        return await self._plain(request, jobs_answer)

    async def job(self, request: Request) -> Response:
        """Answer how one job stands."""

        def answer() -> msgspec.Struct:
            name, text = job_asked_for(request.query_params.multi_items())
            return job_answer(self._running, name, duration(text), time.time())

        return await self._answer(answer, self._slow)

    async def status(self, request: Request) -> Response:
        """Answer how the exporter itself stands."""
        return await self._plain(request, status_answer)

    async def incidents(self, request: Request) -> Response:
        """Answer which incidents are over."""

        def answer() -> msgspec.Struct:
            return past_answer(self._running, filter_of(request.query_params.multi_items()), time.time())

        return await self._answer(answer, self._quick)

    async def series(self, request: Request) -> Response:
        """Answer one series over a range."""

        def answer() -> msgspec.Struct:
            asked = asked_for(request.query_params.multi_items())
            return series_answer(self._running, self._history, asked, time.time())

        return await self._answer(answer, self._slow)

    async def openapi(self, _request: Request) -> Response:
        """Hand out the description of the API."""
        return as_json(document())

    async def _plain(self, request: Request, answer: Callable[[Running, float], msgspec.Struct]) -> Response:
        """Answer what takes no parameters."""

        def call() -> msgspec.Struct:
            once_each(request.query_params.multi_items(), ())
            return answer(self._running, time.time())

        return await self._answer(call, self._quick)

    async def _answer(self, call: Callable[[], msgspec.Struct], turn: Turn) -> Response:
        return await self._run(lambda: _answered(call()), turn)


def _answered(answer: msgspec.Struct) -> Response:
    return as_json(answer, 300 if isinstance(answer, Ambiguous) else 200)
