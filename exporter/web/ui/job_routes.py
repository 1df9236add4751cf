"""The pages of the jobs and their API."""

import time
from datetime import datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from exporter.config.values import duration
from exporter.sinks.latest import UnknownJob
from exporter.web.api import BadParameter
from exporter.web.ui import graphs
from exporter.web.ui.answers import Refusal
from exporter.web.ui.api_routes import as_json
from exporter.web.ui.facts import Running
from exporter.web.ui.job_answers import JobPage
from exporter.web.ui.job_page import job_answer
from exporter.web.ui.now import jobs_answer
from exporter.web.ui.page_routes import HEADERS
from exporter.web.ui.pages import refusal_page, render, ticks
from exporter.web.ui.parameters import once_each
from exporter.web.ui.turns import MANY, Busy, Turn

RANGES: Final = ("6h", "1d", "7d", "14d")
_STRIP: Final = 14
_UNKNOWN: Final = "There is no job of that name now; Jobs lists those there are. It was renamed or removed."


class JobRoutes:
    """The endpoints.

    Parameters
    ----------
    running : Running
    quick, slow : Turn
        For pages from memory, and for those that may wait for the source or the model store.
    """

    def __init__(self, running: Running, quick: Turn, slow: Turn) -> None:
        self._running, self._quick, self._slow = running, quick, slow

    def routes(self) -> list[Route]:
        """Return all of them."""
        gets = {"/jobs": self.list, "/job": self.job, "/api/v1/job": self.answer}
        return [Route(path, function, methods=["GET"]) for path, function in gets.items()]

    async def list(self, _request: Request) -> Response:
        """List the jobs."""
        page = lambda: render("jobs.html", "Jobs", title="Jobs", answer=jobs_answer(self._running, time.time()))  # noqa: E731
        try:
            return _html(await self._quick.run(page))
        except Busy:
            return _refused("Busy", MANY, 503)

    async def job(self, request: Request) -> Response:
        """Show one job."""

        def page() -> str:
            name, text = _asked(request)
            answer = job_answer(self._running, name, duration(text), time.time())
            start, end = _seconds(answer.start), _seconds(answer.end)
            strips = [_strip(answer, at, start, end) for at in range(len(answer.rows))]
            return render("job.html", "Jobs", title=f"Job {name}", answer=answer, strips=strips, ranges=RANGES,
                          range=text, ticks=ticks(start, end))  # fmt: skip

        try:
            return _html(await self._slow.run(page))
        except Busy:
            return _refused("Busy", MANY, 503)
        except BadParameter as error:
            return _refused("This address cannot be understood", f"{error}.", 400)
        except UnknownJob:
            return _refused("Unknown job", _UNKNOWN, 404)

    async def answer(self, request: Request) -> Response:
        """Answer how one job stands."""

        def answer() -> JobPage:
            name, text = _asked(request)
            return job_answer(self._running, name, duration(text), time.time())

        try:
            return as_json(await self._slow.run(answer), 200)
        except Busy:
            return as_json(Refusal(MANY), 503)
        except BadParameter as error:
            return as_json(Refusal(f"{error}."), 400)
        except UnknownJob:
            return as_json(Refusal("there is no job of that name; /api/v1/jobs lists them."), 404)


def _asked(request: Request) -> tuple[str, str]:
    found = once_each(request.query_params.multi_items(), ("job", "range"))
    if "job" not in found:
        raise BadParameter("job is missing: name the job")
    if (text := found.get("range", "1d")) not in RANGES:
        raise BadParameter(f"range must be one of {', '.join(RANGES)}")
    return found["job"], text


def _strip(answer: JobPage, at: int, start: float, end: float) -> str:
    row = answer.rows[at]
    frame = graphs.Frame(start, end, 0.0, 1.0, _STRIP)
    return graphs.strip(
        frame, {"open": row.open, "alert": row.alert}, f"{row.incidents} incidents, {row.alerts} alerts"
    )


def _seconds(text: str | None) -> float:
    assert text is not None
    return datetime.fromisoformat(text).timestamp()


def _html(text: str) -> Response:
    return Response(text.encode("utf-8", "replace"), 200, HEADERS, "text/html")


def _refused(title: str, text: str, status: int) -> Response:
    return HTMLResponse(refusal_page(title, text), status, HEADERS)
