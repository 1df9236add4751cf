"""The pages of the jobs and their API."""

import time
from datetime import datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from exporter.config.values import duration
from exporter.web.api import BadParameter
from exporter.web.ui import graphs
from exporter.web.ui.answers import Refusal
from exporter.web.ui.api_routes import as_json
from exporter.web.ui.endpoints import Endpoints, Refused, refusal_of
from exporter.web.ui.job_answers import JobPage
from exporter.web.ui.job_page import job_answer
from exporter.web.ui.now import jobs_answer
from exporter.web.ui.page_response import as_page, refusal
from exporter.web.ui.pages import render, ticks
from exporter.web.ui.parameters import once_each

RANGES: Final = ("6h", "1d", "7d", "14d")
_STRIP: Final = 14


class JobRoutes(Endpoints):
    """The endpoints: a page of all jobs, one of a single job, and the answer it is made of."""

    def routes(self) -> list[Route]:
        """Return all of them."""
        gets = {"/jobs": self.list, "/job": self.job, "/api/v1/job": self.answer}
        return [Route(path, function, methods=["GET"]) for path, function in gets.items()]

    async def list(self, _request: Request) -> Response:
        """List the jobs."""

        def page() -> Response:
            return as_page(render("jobs.html", "Jobs", title="Jobs", answer=jobs_answer(self._running, time.time())))

        return await self._run(page, self._quick)

    async def job(self, request: Request) -> Response:
        """Show one job."""

        def page() -> Response:
            name, text = _asked(request)
            answer = job_answer(self._running, name, duration(text), time.time())
            start, end = _seconds(answer.start), _seconds(answer.end)
            strips = [_strip(answer, at, start, end) for at in range(len(answer.rows))]
            shown = {"title": f"Job {name}", "answer": answer, "strips": strips, "ranges": RANGES, "range": text}
            return as_page(render("job.html", "Jobs", **shown, ticks=ticks(start, end)))

        return await self._run(page, self._slow)

    async def answer(self, request: Request) -> Response:
        """Answer how one job stands."""

        def answer() -> JobPage:
            name, text = _asked(request)
            return job_answer(self._running, name, duration(text), time.time())

        try:
            return as_json(await self._slow.run(answer), 200)
        except Exception as error:
            if (refused := refusal_of(error)) is None:
                raise
            return as_json(Refusal(refused.text), refused.status, refused.headers)

    def _refuse(self, refused: Refused) -> Response:
        return refusal(refused)


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
    return graphs.strip(frame, {"open": row.open, "alert": row.alert}, _told(row.incidents, row.alerts))


def _told(incidents: int, alerts: int) -> str:
    """Say what a strip shows, for those who cannot see it."""
    return f"{incidents} incident{'s' * (incidents != 1)}, {alerts} alert{'s' * (alerts != 1)}"


def _seconds(text: str | None) -> float:
    assert text is not None
    return datetime.fromisoformat(text).timestamp()
