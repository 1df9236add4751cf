"""The endpoint that answers what else moved."""

import math
import time
from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from detectors.types import Key
from exporter.sinks.latest import UnknownJob
from exporter.web.api import BadParameter
from exporter.web.ui.facts import Running
from exporter.web.ui.json_response import JsonEndpoints, as_json
from exporter.web.ui.not_answered import NotAnswered
from exporter.web.ui.parameters import asked_for
from exporter.web.ui.related import MOST, related_answer
from exporter.web.ui.related_answers import Related
from exporter.web.ui.series import Asked, ambiguous, matching
from exporter.web.ui.series_answers import Ambiguous

LONGEST_EXPR = 2000
"""Characters of an expression."""


class RelatedApi(JsonEndpoints):
    """The endpoint below /api/v1/."""

    def routes(self) -> list[Route]:
        """Return it."""
        return [Route("/api/v1/related", self.related, methods=["GET"])]

    async def related(self, request: Request) -> Response:
        """Answer what else moved around the beginning of an incident."""

        def answer() -> Response:
            expr, rest = _expression(request.query_params.multi_items())
            if expr:
                self._running.workbench()  # where nobody may try queries, nobody may here
            found = related_to(self._running, asked_for(rest), expr, time.time())
            return as_json(found, 300 if isinstance(found, Ambiguous) else 200)

        return await self._run(answer, self._slow)


def _expression(parameters: Iterable[tuple[str, str]]) -> tuple[str, list[tuple[str, str]]]:
    """Return the expression that is asked for, "" for none, and the other parameters. Raises BadParameter."""
    every = list(parameters)
    found = [value for name, value in every if name == "expr"]
    if len(found) > 1:
        raise BadParameter("expr is given more than once")
    if found and len(found[0]) > LONGEST_EXPR:
        raise BadParameter(f"expr may have {LONGEST_EXPR} characters at most")
    return (found[0].strip() if found else ""), [each for each in every if each[0] != "expr"]


def related_to(running: Running, asked: Asked, expr: str, now: float, most: int = MOST) -> Related | Ambiguous:
    """Return what else moved. Raises UnknownJob, NoSuchSeries, and NotAnswered where no incident is meant."""
    if asked.job not in running.facts().jobs:
        raise UnknownJob
    found = matching(running, asked, running.feed.snapshot()[1].get(asked.job))
    if len(found) > 1:
        return ambiguous(asked, found)
    at = moved_of(running, asked.job, found[0], asked.since)
    return related_answer(running, asked.job, found[0], at, expr, most, now)


def moved_of(running: Running, job: str, key: Key, since: float) -> float:
    """Return when a series left its band in the incident that began at `since`, NaN: the one that is open.

    Raises NotAnswered where none is open.
    """
    wanted = tuple(sorted(key))
    if not math.isfinite(since):
        found = running.joint.joined(job).get(wanted)
        if found is None or found[0].over is not None:
            raise NotAnswered(404, "No incident of this series is open: say which one by since, Unix seconds.")
        return found[0].moved
    joint = running.joint.of(job, key, since)
    if joint is None:
        return since
    return min((each.moved for each in joint.members if each.job == job and each.key == wanted), default=since)
