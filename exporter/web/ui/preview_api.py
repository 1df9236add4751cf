"""The JSON API of the workbench: begin a replay, ask how it stands by some settings, end it."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from exporter.web.api import BadParameter
from exporter.web.same_origin import body_of, media_type
from exporter.web.ui.bench import Bench
from exporter.web.ui.endpoints import Refused
from exporter.web.ui.json_response import JsonEndpoints, as_json
from exporter.web.ui.parameters import once_each
from exporter.web.ui.preview_answers import PreviewStarted
from exporter.web.ui.workbench_parameters import CHOICE, QUESTION, ROWS, choice_of, question_of, rows_of, seconds_of

_MOST_NAMES: Final = 50
_MOST_JOBS: Final = 1000
_NO_OBJECT: Final = Refused("Not sent", "the body is not a JSON object.", 400)
_NO_JSON: Final = Refused("Not sent", "the body must be a JSON object (Content-Type: application/json).", 415)


class PreviewApi(JsonEndpoints):
    """The endpoints."""

    def routes(self) -> list[Route]:
        """Return all of them."""
        return [
            Route("/api/v1/preview", self.answer, methods=["GET"]),
            Route("/api/v1/preview", self.start, methods=["POST"]),
            Route("/api/v1/preview", self.cancel, methods=["DELETE"]),
            Route("/api/v1/preview/past", self.start_past, methods=["POST"]),
            Route("/api/v1/preview/metrics", self.metrics, methods=["GET"]),
        ]

    async def answer(self, request: Request) -> Response:
        """Answer how a replay stands."""

        def answer(ours: Bench) -> msgspec.Struct:
            found = once_each(request.query_params.multi_items(), ("id", *CHOICE, ROWS))
            return ours.answer(found.get("id", ""), choice_of(found), rows_of(found.get(ROWS, "")))

        return await self._answer(answer)

    async def cancel(self, request: Request) -> Response:
        """End a replay."""

        def cancel() -> Response:
            ours = self._running.workbench()
            self._rights.check_origin(request)
            ours.cancel(once_each(request.query_params.multi_items(), ("id",)).get("id", ""))
            return Response(status_code=204)

        return await self._run(cancel, self._slow)

    async def start(self, request: Request) -> Response:
        """Begin a replay."""
        return await self._begun(
            request, (*QUESTION, "channels", *CHOICE), lambda ours, found: ours.start(question_of(found))
        )

    async def start_past(self, request: Request) -> Response:
        """Begin to look back."""

        def start(ours: Bench, found: Mapping[str, Any]) -> str:
            jobs = found.get("jobs")
            if not isinstance(jobs, list) or not all(isinstance(job, str) for job in jobs) or len(jobs) > _MOST_JOBS:
                raise BadParameter("jobs must be a list of names of jobs")
            return ours.start_past(jobs, seconds_of(found))

        return await self._begun(request, ("jobs", "range"), start)

    async def metrics(self, request: Request) -> Response:
        """Answer which metrics there are."""

        def metrics(ours: Bench) -> msgspec.Struct:
            found = once_each(request.query_params.multi_items(), ("part",))
            return ours.metrics(found.get("part", "")[:200], _MOST_NAMES)

        return await self._answer(metrics)

    async def _begun(
        self, request: Request, known: tuple[str, ...], start: Callable[[Bench, Mapping[str, Any]], str]
    ) -> Response:
        """Begin what a JSON object asks for: a form of another site cannot send one."""
        try:
            self._rights.check_origin(request)
            if media_type(request) != "application/json":
                return self._refuse(_NO_JSON)
            found = json.loads(await body_of(request))
        except (ValueError, RecursionError):
            return self._refuse(_NO_OBJECT)
        except Exception as error:
            return self._refused(error)
        if not isinstance(found, dict):
            return self._refuse(_NO_OBJECT)
        if found.keys() - set(known):
            return self._refused(BadParameter(f"there is an unknown key; known are {', '.join(known)}"))
        return await self._answer(lambda ours: PreviewStarted(start(ours, found)), 202)

    async def _answer(self, call: Callable[[Bench], msgspec.Struct], status: int = 200) -> Response:
        return await self._run(lambda: as_json(call(self._running.workbench()), status), self._slow)
