"""The pages of the workbench: what a job would have found. It costs queries: a right of its own."""

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from exporter.redact import masked
from exporter.web.api import BadParameter
from exporter.web.same_origin import TooLong, body_of, check_token, token_of
from exporter.web.ui import bench
from exporter.web.ui import workbench_pages as pages
from exporter.web.ui.bench import Bench
from exporter.web.ui.endpoints import refusal_of
from exporter.web.ui.page_response import HEADERS, PageEndpoints, as_page
from exporter.web.ui.parameters import once_each
from exporter.web.ui.workbench_parameters import (
    CHANNEL,
    CHOICE,
    QUESTION,
    ROWS,
    channels_of,
    choice_of,
    question_of,
    rows_of,
    seconds_of,
)

_PREVIEW: Final = "preview"
_JOB: Final = "job:"
_KNOWN: Final = (*QUESTION, *CHOICE)


class WorkbenchPages(PageEndpoints):
    """The endpoints."""

    def routes(self) -> list[Route]:
        """Return all of them."""
        return [
            Route("/workbench", self.show, methods=["GET"]),
            Route("/workbench", self.begin, methods=["POST"]),
            Route("/workbench-part", self.part, methods=["GET"]),
            Route("/workbench-past", self.begin_past, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """Show the form, and what was found."""

        def page() -> str:
            found, ours = _parameters(request), self._running.workbench()
            jobs = self._running.facts().config.jobs
            if _PREVIEW not in found:
                ours.warm_up()
                return pages.form_page(found, jobs, token_of(request))
            answer = ours.answer(found[_PREVIEW], choice_of(found), rows_of(found.get(ROWS, "")))
            return pages.result_page(answer, found, jobs, token_of(request))

        return await self._page(page, self._slow)

    async def part(self, request: Request) -> Response:
        """Show what was found, without the page around it."""

        def part() -> str:
            found = _parameters(request)
            rows = rows_of(found.get(ROWS, ""))
            return pages.result_part(
                self._running.workbench().answer(found.get(_PREVIEW, ""), choice_of(found), rows), found
            )

        return await self._page(part, self._slow)

    async def begin(self, request: Request) -> Response:
        """Begin a replay, as a form asks for it."""

        def begin(ours: Bench, found: Mapping[str, str]) -> Mapping[str, str]:
            asked = {
                name: value for name, value in found.items() if value and (name in _KNOWN or name.startswith(CHANNEL))
            }
            return {_PREVIEW: ours.start(question_of({**asked, "channels": channels_of(asked)})), **asked}

        return await self._posted(request, begin)

    async def begin_past(self, request: Request) -> Response:
        """Begin to look back, as a form asks for it."""

        def begin(ours: Bench, found: Mapping[str, str]) -> Mapping[str, str]:
            jobs = [name.removeprefix(_JOB) for name in found if name.startswith(_JOB)]
            return {_PREVIEW: ours.start_past(jobs, seconds_of(found))}

        return await self._posted(request, begin)

    async def _posted(
        self, request: Request, begin: Callable[[Bench, Mapping[str, str]], Mapping[str, str]]
    ) -> Response:
        """Begin what a form of ours asks for, and go to its page; a form that is wrong is shown again."""
        try:
            self._rights.check_origin(request)
            found = _fields((await body_of(request)).decode("utf-8", "replace"))
            check_token(request, found.pop("token", ""))
        except Exception as error:
            return self._refused(error)

        def call() -> Response:
            ours = self._running.workbench()
            try:
                to = begin(ours, found)
            except (BadParameter, bench.Refused) as error:
                refused = refusal_of(error)
                assert refused is not None
                jobs = self._running.facts().config.jobs
                text = pages.form_page(found, jobs, token_of(request), masked(refused.text))
                return as_page(text, status=refused.status)
            return RedirectResponse(f"workbench?{urlencode(to, errors='replace')}", 303, HEADERS)

        return await self._run(call, self._slow)


def _fields(text: str) -> dict[str, str]:
    """Return the fields of a form. Raises TooLong."""
    try:
        return dict(parse_qsl(text, max_num_fields=2000))
    except ValueError:
        raise TooLong from None


def _parameters(request: Request) -> dict[str, str]:
    given = request.query_params.multi_items()
    channels = [name for name, _ in given if name.startswith(CHANNEL)]
    return once_each(given, (_PREVIEW, *_KNOWN, ROWS, *channels))
