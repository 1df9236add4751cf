"""The page /-/accept: an operator says that the level of open incidents is normal now."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from detectors.types import Key
from exporter.feed.feed import Feed, UnknownJob
from exporter.web.anomalies import BadParameter, selection

Accept = Callable[[str, Sequence[Key]], float]
"""Takes a job and entities whose level is normal from the next cycle on; returns the seconds between two cycles."""
_SHOWN = 20


def nothing_to_accept(_job: str, _keys: Sequence[Key]) -> float:
    """Stand for an exporter without jobs. Raises UnknownJob."""
    raise UnknownJob


async def accepted(feed: Feed, accept: Accept, request: Request) -> Response:
    """Accept the open incidents of the one `job` that `match` names, all of them without `match`."""
    parameters = request.query_params.multi_items()
    try:
        if not {name for name, _ in parameters} <= {"job", "match"}:
            raise BadParameter("there is an unknown parameter; known are job and match")
        asked = replace(selection(parameters), flag=True)
        if len(asked.jobs) != 1:
            raise BadParameter("name exactly one job")
        (job,) = asked.jobs
        keys = await run_in_threadpool(feed.entities, asked)
        if not keys:
            others = len(await run_in_threadpool(feed.entities, replace(asked, labels=())))
            why = f"none of its {others} open ones matches" if others else "nothing is open"
            text = f"Job {job} has no open incident to accept: {why}. /api/v1/anomalies?flag=true lists what is open.\n"
            return PlainTextResponse(text, 409)
        every = accept(job, keys)
    except BadParameter as error:
        return PlainTextResponse(f"{error}.\n", 400)
    except UnknownJob:
        text = f"There is no job of that name; there are {', '.join(feed.jobs)}.\n"
        return PlainTextResponse(text, 404)
    shown = [", ".join(f'{name}="{value}"' for name, value in key) or "(no labels)" for key in keys[:_SHOWN]]
    more = [f"and {len(keys) - _SHOWN} more"] if len(keys) > _SHOWN else []
    what = "The level of one incident" if len(keys) == 1 else f"The levels of {len(keys)} incidents"
    head = f"{what} of job {job} will be normal from the next cycle on, in {every:g}s at the latest:"
    return PlainTextResponse("\n".join([head, *shown, *more]) + "\n")
