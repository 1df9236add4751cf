"""The pages of the jobs."""

import time
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from exporter.config.values import duration
from exporter.sinks.latest import UnknownJob
from exporter.web.same_origin import login_of, token_of
from exporter.web.ui import graphs
from exporter.web.ui.answering import NOBODY
from exporter.web.ui.job_answers import JobPage
from exporter.web.ui.job_page import job_answer
from exporter.web.ui.not_answered import NotAnswered
from exporter.web.ui.now import jobs_answer
from exporter.web.ui.page_response import PageEndpoints
from exporter.web.ui.pages import render, ticks
from exporter.web.ui.parameters import JOB_RANGES, job_asked_for
from exporter.web.ui.rights import TOKEN, fields_of

_STRIP: Final = 14


class JobRoutes(PageEndpoints):
    """The endpoints: a page of all jobs, and one of a single job."""

    def routes(self) -> list[Route]:
        """Return all of them."""
        gets = {"/jobs": self.list, "/job": self.job}
        found = [Route(path, function, methods=["GET"]) for path, function in gets.items()]
        return [*found, Route("/job", self.choose, methods=["POST"])]

    async def list(self, _request: Request) -> Response:
        """List the jobs."""
        return await self._page(
            lambda: render("jobs.html", "Jobs", title="Jobs", answer=jobs_answer(self._running, time.time()))
        )

    async def job(self, request: Request) -> Response:
        """Show one job."""

        def page() -> str:
            name, text = job_asked_for(request.query_params.multi_items())
            answer = job_answer(self._running, name, duration(text), time.time())
            start, end = _seconds(answer.start), _seconds(answer.end)
            strips = [_strip(answer, at, start, end) for at in range(len(answer.rows))]
            shown = {"title": f"Job {name}", "answer": answer, "strips": strips, "ranges": JOB_RANGES, "range": text}
            may = {"token": token_of(request), "may_choose": not self._rights.refusal}
            return render("job.html", "Jobs", **shown, **may, ticks=ticks(start, end))

        return await self._page(page, self._slow)

    async def choose(self, request: Request) -> Response:
        """Make another stored model of a job the active one."""
        try:
            fields = await fields_of(request)
            self._rights.check(request, fields.get(TOKEN, ""))
        except NotAnswered as error:
            return self._refused(error)
        job, version, seen = (fields.get(name, "") for name in ("job", "version", "active"))
        who = login_of(request) or NOBODY

        def choose() -> Response:
            if job not in self._running.facts().jobs:
                raise UnknownJob
            self._running.activate(job, version, seen, who)
            return RedirectResponse(f"job?{urlencode({'job': job})}#models", 303)

        return await self._run(choose, self._slow)


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
