"""What the parameters of a request ask for. No text of a refusal repeats anything of the request."""

import math
import re
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import Final

from detectors.units import DAY, WEEK
from exporter.sinks.feedback import KINDS
from exporter.sinks.latest import Matcher
from exporter.web.api import BadParameter, selection
from exporter.web.ui.past import MOST_OF_A_PAGE, UNANSWERED, Filter
from exporter.web.ui.series import LONGEST, Asked

COMPARED: Final = {"day": (DAY,), "week": (WEEK,), "day,week": (DAY, WEEK)}
"""Seconds before a range of others that can be laid over it."""
JOB_RANGES: Final = ("6h", "1d", "7d", "14d")
Parameters = Iterable[tuple[str, str]]
_FIGURE: Final = r"[0-9]{1,10}(\.[0-9]{1,20})?(e[-+]?[0-9]{1,3})?"
_LATEST = 9_999_999_999.0
"""Unix seconds, in the year 2286: later times are mistakes."""


def once_each(parameters: Parameters, known: Collection[str]) -> dict[str, str]:
    """Return parameters by name, without empty ones, which a form sends. Raises BadParameter."""
    found: dict[str, str] = {}
    for name, value in parameters:
        if name not in known:
            told = f"known are {', '.join(known)}" if known else "there are none here"
            raise BadParameter(f"there is an unknown parameter; {told}")
        if name in found:
            raise BadParameter(f"{name} is given more than once")
        found[name] = value
    return {name: value for name, value in found.items() if value}


def asked_for(parameters: Parameters) -> Asked:
    """Return which series is asked for, and over which range. Raises BadParameter."""
    found = once_each(parameters, ("job", "match", "id", "since", "range", "end", "compare", "told"))
    if "job" not in found:
        raise BadParameter("job is missing: name the job that judges the series")
    if "id" in found and not re.fullmatch(r"[0-9a-f]{16}", found["id"]):
        raise BadParameter("id must be 16 hexadecimal digits")
    if found.get("compare", "day") not in COMPARED:
        raise BadParameter("compare must be day, week or day,week")
    if found.get("told", "false") not in {"true", "false"}:
        raise BadParameter("told must be true or false")
    return Asked(
        found["job"],
        _labels(found),
        found.get("id", ""),
        _number("since", found, 0, _LATEST, math.nan),
        _number("range", found, 60, LONGEST) if "range" in found else None,
        _number("end", found, 0, _LATEST) if "end" in found else None,
        COMPARED.get(found.get("compare", ""), ()),
        found.get("told") == "true",
    )


def filter_of(parameters: Parameters, limit: int | None = None) -> Filter:
    """Return which past incidents are asked for; `limit` is instead of the one asked for. Raises BadParameter."""
    found = once_each(parameters, ("job", "match", "start", "end", "alerted", "answered", "limit", "offset"))
    alerted = found.get("alerted")
    if alerted not in {None, "true", "false"}:
        raise BadParameter("alerted must be true or false")
    if (answered := found.get("answered", "")) not in {"", *KINDS, UNANSWERED}:
        raise BadParameter(f"answered must be {', '.join(KINDS)} or {UNANSWERED}")
    return Filter(
        job=found.get("job", ""),
        labels=_labels(found),
        start=_time("start", found, -math.inf),
        end=_time("end", found, math.inf),
        alerted=None if alerted is None else alerted == "true",
        answered=answered,
        limit=limit or whole("limit", found, 1, MOST_OF_A_PAGE, MOST_OF_A_PAGE),
        offset=whole("offset", found, 0, 10**9, 0),
    )


def job_asked_for(parameters: Parameters) -> tuple[str, str]:
    """Return the name of the job that is asked for, and over which of `JOB_RANGES`. Raises BadParameter."""
    found = once_each(parameters, ("job", "range"))
    if "job" not in found:
        raise BadParameter("job is missing: name the job")
    if (text := found.get("range", "1d")) not in JOB_RANGES:
        raise BadParameter(f"range must be one of {', '.join(JOB_RANGES)}")
    return found["job"], text


def _labels(found: dict[str, str]) -> tuple[Matcher, ...]:
    return selection([("match", found["match"])]).labels if "match" in found else ()


def _time(name: str, found: dict[str, str], default: float) -> float:
    """Return Unix seconds of a time in either form: a number, or what a browser's field for dates gives, in UTC."""
    text = found.get(name, "")
    if not text or re.fullmatch(_FIGURE, text):
        return _number(name, found, 0, _LATEST, default)
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError):
        raise BadParameter(f"{name} must be Unix seconds, or a time such as 2026-01-05T10:06 (UTC)") from None


def _number(name: str, found: dict[str, str], least: float, most: float, default: float = 0.0) -> float:
    text = found.get(name)
    if text is None:
        return default
    if not re.fullmatch(_FIGURE, text) or not least <= float(text) <= most:
        raise BadParameter(f"{name} must be a number from {least:g} to {most:.10g}")
    return float(text)


def whole(name: str, found: dict[str, str], least: int, most: int, default: int) -> int:
    """Return a whole number. Raises BadParameter."""
    if not re.fullmatch(r"[0-9]{0,10}", found.get(name, "")):
        raise BadParameter(f"{name} must be a whole number from {least} to {most}")
    return int(_number(name, found, least, most, default))
