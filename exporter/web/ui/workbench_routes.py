"""The workbench: what a job would have found. It costs queries: a right of its own, and not for foreign forms."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from exporter.redact import masked
from exporter.source.errors import SourceError
from exporter.web.api import BadParameter
from exporter.web.same_origin import Foreign, TooLong, body_of, check_origin, check_token, media_type, token_of
from exporter.web.ui import endpoints
from exporter.web.ui import workbench_pages as pages
from exporter.web.ui.answers import Refusal
from exporter.web.ui.bench import Bench, Choice, Gone, Refused
from exporter.web.ui.facts import Running
from exporter.web.ui.json_response import as_json
from exporter.web.ui.page_response import HEADERS, as_page, refusal
from exporter.web.ui.parameters import once_each
from exporter.web.ui.preview_answers import PreviewStarted
from exporter.web.ui.turns import MANY, Busy, Turn
from exporter.web.ui.workbench_parameters import CHOICE, QUESTION, ROWS, choice_of, question_of, rows_of, seconds_of

OFF: Final = (
    "The workbench is off. It sends queries to the source for whoever asks, so it needs web.users, or "
    "web.workbench: true where everybody who reaches this port may."
)
GONE: Final = "This replay has ended: nobody asked for it any more, or the exporter was restarted. Start it again."
_MOST_WAITING: Final = 16
_MOST_NAMES: Final = 50
_PREVIEW: Final = "preview"


class WorkbenchRoutes:
    """The endpoints.

    Parameters
    ----------
    running : Running
        Its `bench` is None where the workbench is off.
    """

    def __init__(self, running: Running) -> None:
        self._running, self._turn = running, Turn(_MOST_WAITING)

    def routes(self) -> list[Route]:
        """Return all of them."""
        return [
            Route("/workbench", self.show, methods=["GET"]),
            Route("/workbench", self.begin, methods=["POST"]),
            Route("/workbench-part", self.part, methods=["GET"]),
            Route("/workbench-past", self.begin_past, methods=["POST"]),
            Route("/api/v1/preview", self.answer, methods=["GET"]),
            Route("/api/v1/preview", self.start, methods=["POST"]),
            Route("/api/v1/preview", self.cancel, methods=["DELETE"]),
            Route("/api/v1/preview/past", self.start_past, methods=["POST"]),
            Route("/api/v1/preview/metrics", self.metrics, methods=["GET"]),
        ]

    # Pages

    async def show(self, request: Request) -> Response:
        """Show the form, and what was found."""

        def page(bench: Bench) -> Response:
            found = _parameters(request)
            jobs = self._running.facts().config.jobs
            if _PREVIEW not in found:
                bench.warm_up()
                return as_page(pages.form_page(found, jobs, token_of(request)))
            answer = bench.answer(found[_PREVIEW], _choice(found), rows_of(found.get(ROWS, "")))
            return as_page(pages.result_page(answer, found, jobs, token_of(request)))

        return await self._page(request, page)

    async def part(self, request: Request) -> Response:
        """Show what was found, without the page around it."""

        def part(bench: Bench) -> Response:
            found = _parameters(request)
            answer = bench.answer(found.get(_PREVIEW, ""), _choice(found), rows_of(found.get(ROWS, "")))
            return as_page(pages.result_part(answer, found))

        return await self._page(request, part)

    async def begin(self, request: Request) -> Response:
        """Begin a replay, as a form asks for it."""

        def begin(bench: Bench, found: dict[str, str]) -> Response:
            asked = {name: found[name] for name in (*QUESTION, *CHOICE) if found.get(name)}
            name = bench.start(question_of(asked))
            return _to({_PREVIEW: name, **asked})

        return await self._posted(request, begin)

    async def begin_past(self, request: Request) -> Response:
        """Begin to look back, as a form asks for it."""

        def begin(bench: Bench, found: dict[str, str]) -> Response:
            jobs = [name.removeprefix("job:") for name in found if name.startswith("job:")]
            return _to({_PREVIEW: bench.start_past(jobs, seconds_of(found))})

        return await self._posted(request, begin)

    async def _posted(self, request: Request, call: Callable[[Bench, dict[str, str]], Response]) -> Response:
        try:
            check_origin(request)
            text = (await body_of(request)).decode("utf-8", "replace")
            found = dict(parse_qsl(text, max_num_fields=2000))
            check_token(request, found.pop("token", ""))
        except Foreign as error:
            return _page_refused("Not sent", str(error), 403)
        except (TooLong, ValueError):
            return _page_refused("This form is too long", "Shorten what is in it.", 413)
        return await self._page(request, lambda bench: call(bench, found), found)

    async def _page(
        self, request: Request, call: Callable[[Bench], Response], found: Mapping[str, str] | None = None
    ) -> Response:
        bench = self._running.bench
        if bench is None:
            return _page_refused("The workbench is off", OFF, 403)
        try:
            return await self._turn.run(lambda: call(bench))
        except Busy:
            return _page_refused("Busy", MANY, 503)
        except Gone:
            return _page_refused("This replay has ended", GONE, 410)
        except BadParameter as error:
            return self._again(request, found, f"{error}.", 400)
        except Refused as error:
            return self._again(request, found, str(error), 409)

    def _again(self, request: Request, found: Mapping[str, str] | None, text: str, status: int) -> Response:
        """Show the form again with what is wrong with it."""
        if found is None:
            return _page_refused("This address cannot be understood", text, status)
        jobs = self._running.facts().config.jobs
        return as_page(pages.form_page(found, jobs, token_of(request), masked(text)), status=status)

    # API

    async def answer(self, request: Request) -> Response:
        """Answer how a replay stands."""

        def answer(bench: Bench) -> Response:
            found = once_each(request.query_params.multi_items(), ("id", *CHOICE, ROWS))
            return as_json(bench.answer(found.get("id", ""), _choice(found), rows_of(found.get(ROWS, ""))))

        return await self._api(answer)

    async def cancel(self, request: Request) -> Response:
        """End a replay."""

        def cancel(bench: Bench) -> Response:
            check_origin(request)
            bench.cancel(once_each(request.query_params.multi_items(), ("id",)).get("id", ""))
            return Response(status_code=204)

        return await self._api(cancel)

    async def start(self, request: Request) -> Response:
        """Begin a replay."""
        return await self._begun(request, (*QUESTION, *CHOICE), lambda bench, found: bench.start(question_of(found)))

    async def start_past(self, request: Request) -> Response:
        """Begin to look back."""

        def start(bench: Bench, found: dict[str, Any]) -> str:
            jobs = found.get("jobs")
            if not isinstance(jobs, list) or not all(isinstance(job, str) for job in jobs) or len(jobs) > 1000:
                raise BadParameter("jobs must be a list of names of jobs")
            return bench.start_past(jobs, seconds_of(found))

        return await self._begun(request, ("jobs", "range"), start)

    async def metrics(self, request: Request) -> Response:
        """Answer which metrics there are."""

        def metrics(bench: Bench) -> Response:
            found = once_each(request.query_params.multi_items(), ("part",))
            return as_json(bench.metrics(found.get("part", "")[:200], _MOST_NAMES))

        return await self._api(metrics)

    async def _begun(
        self, request: Request, known: tuple[str, ...], start: Callable[[Bench, dict[str, Any]], str]
    ) -> Response:
        """Begin what a JSON object asks for: a form of another site cannot send one."""
        try:
            check_origin(request)
            if media_type(request) != "application/json":
                return as_json(Refusal("the body must be a JSON object (Content-Type: application/json)."), 415)
            found = json.loads(await body_of(request))
        except Foreign as error:
            return as_json(Refusal(str(error)), 403)
        except TooLong:
            return as_json(Refusal("the body is too long."), 413)
        except (ValueError, RecursionError):
            return as_json(Refusal("the body is not a JSON object."), 400)
        if not isinstance(found, dict) or (unknown := found.keys() - set(known)):
            told = "there is an unknown key" if isinstance(found, dict) and unknown else "the body is not a JSON object"
            return as_json(Refusal(f"{told}; known are {', '.join(known)}."), 400)
        return await self._api(lambda bench: as_json(PreviewStarted(start(bench, found)), 202))

    async def _api(self, call: Callable[[Bench], Response]) -> Response:  # noqa: PLR0911 - a return for each refusal
        bench = self._running.bench
        if bench is None:
            return as_json(Refusal(OFF), 403)
        try:
            return await self._turn.run(lambda: call(bench))
        except Busy:
            return as_json(Refusal(MANY), 503)
        except Gone:
            return as_json(Refusal(GONE), 404)
        except Foreign as error:
            return as_json(Refusal(str(error)), 403)
        except BadParameter as error:
            return as_json(Refusal(f"{error}."), 400)
        except Refused as error:
            return as_json(Refusal(masked(str(error))), 409)
        except SourceError as error:
            return as_json(Refusal(f"the source did not answer: {masked(str(error))}"), 502)


def _parameters(request: Request) -> dict[str, str]:
    return once_each(request.query_params.multi_items(), (_PREVIEW, *QUESTION, *CHOICE, ROWS, "job"))


def _choice(found: Mapping[str, str]) -> Choice | None:
    return choice_of(found) if any(name in found for name in CHOICE) else None


def _to(parameters: Mapping[str, str]) -> Response:
    return RedirectResponse(f"workbench?{urlencode(parameters, errors='replace')}", 303, HEADERS)


def _page_refused(title: str, text: str, status: int) -> Response:
    return refusal(endpoints.Refused(title, text, status))
