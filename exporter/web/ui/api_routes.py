"""The JSON API of the pages: everything that they show."""

import json
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from exporter.sinks.latest import UnknownJob
from exporter.web.api import BadParameter
from exporter.web.ui.answers import Ambiguous, Refusal
from exporter.web.ui.facts import Running
from exporter.web.ui.history import History
from exporter.web.ui.now import jobs_answer, now_answer
from exporter.web.ui.openapi import document
from exporter.web.ui.parameters import asked_for, filter_of, once_each
from exporter.web.ui.past import past_answer
from exporter.web.ui.series import NoSuchSeries, series_answer
from exporter.web.ui.status import status_answer
from exporter.web.ui.turns import MANY, Busy, Turn


class ApiRoutes:
    """The endpoints below /api/v1/ that the pages are made of.

    Parameters
    ----------
    running : Running
    history : History
    quick, slow : Turn
        For answers from memory, and for those that may wait for the source.
    """

    def __init__(self, running: Running, history: History, quick: Turn, slow: Turn) -> None:
        self._running, self._history, self._quick, self._slow = running, history, quick, slow

    def routes(self) -> list[Route]:
        """Return all of them."""
        gets = {
            "now": self.now,
            "jobs": self.jobs,
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

    async def status(self, request: Request) -> Response:
        """Answer how the exporter itself stands."""
        return await self._plain(request, status_answer)

    async def incidents(self, request: Request) -> Response:
        """Answer which incidents are over."""

        def answer() -> msgspec.Struct:
            return past_answer(self._running, filter_of(request.query_params.multi_items()), time.time())

        return await self._run(answer, self._quick)

    async def series(self, request: Request) -> Response:
        """Answer one series over a range."""

        def answer() -> msgspec.Struct:
            asked = asked_for(request.query_params.multi_items())
            return series_answer(self._running, self._history, asked, time.time())

        return await self._run(answer, self._slow)

    async def openapi(self, _request: Request) -> Response:
        """Hand out the description of the API."""
        return _json(document(), 200)

    async def _plain(self, request: Request, answer: Callable[[Running, float], msgspec.Struct]) -> Response:
        """Answer what takes no parameters."""

        def call() -> msgspec.Struct:
            once_each(request.query_params.multi_items(), ())
            return answer(self._running, time.time())

        return await self._run(call, self._quick)

    async def _run(self, call: Callable[[], msgspec.Struct], turn: Turn) -> Response:
        try:
            return await turn.run(lambda: _answered(call()))
        except BadParameter as error:
            return _json(Refusal(f"{error}."), 400)
        except Busy:
            return _json(Refusal(MANY), 503)
        except UnknownJob:
            return _json(Refusal("there is no job of that name; /api/v1/jobs lists them."), 404)
        except NoSuchSeries as error:
            return _json(Refusal(str(error)), 404)


def _answered(answer: msgspec.Struct) -> Response:
    return _json(answer, 300 if isinstance(answer, Ambiguous) else 200)


def _json(content: Any, status: int) -> Response:
    # Not msgspec's encoder: a label may hold half of a surrogate pair, which plain JSON can escape.
    text = json.dumps(msgspec.to_builtins(content), allow_nan=False)
    return Response(text, status, {"Retry-After": "5"} if status == 503 else None, "application/json")


as_json: Final = _json
