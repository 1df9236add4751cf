"""The JSON API: the newest verdicts, and `accept`."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from detectors.types import Key
from exporter.sinks.latest import LatestVerdicts, Matcher, Selection, UnknownJob

MOST: Final = 1000
"""Entities in one answer."""
_MOST_MATCHERS: Final = 20
_NAMES: Final = ("job", "match", "flag", "alert", "limit", "offset")
_SWITCHES: Final = {"true": True, "false": False, "1": True, "0": False}
_TEXT: Final = r'"((?:[^"\\]|\\["\\n])*)"'
_MATCHER: Final = re.compile(rf"\s*(?:([A-Za-z_][A-Za-z0-9_.]*)|{_TEXT})\s*(=~|!~|!=|=)\s*{_TEXT}\s*")
_ESCAPED: Final = re.compile(r'\\(["\\n])')
_HOW: Final = 'must be labels such as instance="a",job!="b"'


class BadParameter(ValueError):
    """A parameter that cannot be what the asker means. The text repeats nothing of the request."""


def selection(parameters: Iterable[tuple[str, str]]) -> Selection:
    """Return what the parameters of a request ask for. Raises BadParameter."""
    found: dict[str, list[str]] = {}
    for name, value in parameters:
        if name not in _NAMES:
            raise BadParameter(f"there is an unknown parameter; known are {', '.join(_NAMES[:-1])} and {_NAMES[-1]}")
        found.setdefault(name, []).append(value)
    for name in _NAMES[2:]:
        if len(found.get(name, ())) > 1:
            raise BadParameter(f"{name} is given more than once")
    matchers = tuple(matcher for text in found.get("match", ()) for matcher in _matchers(text))
    if len(matchers) > _MOST_MATCHERS:
        raise BadParameter(f"match may name {_MOST_MATCHERS} labels at most")
    return Selection(
        tuple(dict.fromkeys(found.get("job", ()))),
        matchers,
        _switch("flag", found),
        _switch("alert", found),
        _whole("limit", found, 1, MOST, 100),
        _whole("offset", found, 0, 10**9, 0),
    )


def _switch(name: str, found: dict[str, list[str]]) -> bool | None:
    if name not in found:
        return None
    if found[name][0] not in _SWITCHES:
        raise BadParameter(f"{name} must be true or false")
    return _SWITCHES[found[name][0]]


def _whole(name: str, found: dict[str, list[str]], least: int, most: int, default: int) -> int:
    text = found.get(name, [str(default)])[0]
    if not re.fullmatch(r"[0-9]{1,10}", text) or not least <= int(text) <= most:
        raise BadParameter(f"{name} must be a whole number from {least} to {most}")
    return int(text)


def _matchers(text: str) -> list[Matcher]:
    text = text.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    found, at = [], 0
    while True:
        match = _MATCHER.match(text, at)
        if match is None:
            raise BadParameter(f"match {_HOW}")
        plain, quoted, operator, value = match.groups()
        if "~" in operator:
            raise BadParameter(f"match {_HOW}; regular expressions are not served, one could keep us busy for ever")
        found.append(Matcher(plain or _meant(quoted), _meant(value), operator == "="))
        at = match.end()
        if at == len(text):
            return found
        if text[at] != ",":
            raise BadParameter(f"match {_HOW}")
        at += 1


def _meant(text: str) -> str:
    return _ESCAPED.sub(lambda escape: "\n" if escape[1] == "n" else escape[1], text)


Configuration = Callable[[], dict[str, Any]]
"""Returns the digests of the running configuration, as JSON."""


def no_configuration() -> dict[str, Any]:
    """Stand for an exporter without jobs."""
    return {"digest": "", "jobs": {}}


async def configuration(digests: Configuration) -> Response:
    """Answer which configuration is active, by digests: no value of it is shown."""
    return _json(await run_in_threadpool(digests), 200)


async def anomalies(feed: LatestVerdicts, request: Request) -> Response:
    """Answer what is asked for, 304 to those who have it, 400 with one sentence where it cannot be understood."""
    tag = feed.tag
    if tag in {each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")}:
        return Response(status_code=304, headers={"ETag": tag})
    try:
        asked = selection(request.query_params.multi_items())
        # In a thread: sorting 100,000 series takes a moment, in which others want to scrape.
        return await run_in_threadpool(lambda: _json(feed.answer(asked), 200, {"ETag": tag}))
    except BadParameter as error:
        return _json({"error": f"{error}."}, 400)
    except UnknownJob:
        return _json({"error": "there is no job of that name; the answer without job lists them under jobs."}, 400)


def _json(content: dict[str, Any], status: int, headers: dict[str, str] | None = None) -> Response:
    # Not msgspec: a label may hold half of a surrogate pair, which plain JSON can escape.
    return Response(json.dumps(content, allow_nan=False), status, headers, "application/json")


Accept = Callable[[str, Sequence[Key]], float]
"""Takes a job and entities whose level is normal from the next cycle on; returns the seconds between two cycles."""
_SHOWN = 20


def nothing_to_accept(_job: str, _keys: Sequence[Key]) -> float:
    """Stand for an exporter without jobs. Raises UnknownJob."""
    raise UnknownJob


async def accepted(feed: LatestVerdicts, accept: Accept, request: Request) -> Response:
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
