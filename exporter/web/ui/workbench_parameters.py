"""What is asked of the workbench. No text of a refusal repeats anything of the request, but for what a form shows."""

from collections.abc import Mapping
from typing import Any, Final

from exporter.config.values import duration
from exporter.web.api import BadParameter
from exporter.web.ui.bench import Choice, Question
from exporter.web.ui.preview_answers import Direction

LONGEST: Final = 14 * 86_400.0
_LONGEST_EXPR: Final = 4000
_LONGEST_NAME: Final = 100
_MOST: Final = 1e300
QUESTION: Final = ("expr", "name", "step", "range", "job")
CHANNEL: Final = "channel:"
"""Begins the names of fields that hold the PromQL of a channel."""
_MOST_CHANNELS: Final = 16
CHOICE: Final = ("direction", "least_deviation", "budget")
ROWS: Final = "row"
_MOST_ROWS: Final = 6


def question_of(found: Mapping[str, Any]) -> Question:
    """Return what a form or a JSON object asks for. Raises BadParameter."""
    if not all(isinstance(found.get(name, ""), str) for name in ("expr", "name", "job")):
        raise BadParameter("expr, name and job must be text")
    channels = _channels(found.get("channels", {}))
    expr = "" if channels else found.get("expr", "").strip()
    if not expr and not channels:
        raise BadParameter("write a PromQL expression first")
    if any(len(each) > _LONGEST_EXPR for each in (expr, *channels.values())):
        raise BadParameter(f"the expression is longer than {_LONGEST_EXPR:,} characters")
    name = (found.get("name") or "new-job").strip()
    if len(name) > _LONGEST_NAME:
        raise BadParameter(f"the name is longer than {_LONGEST_NAME} characters")
    step, seconds = _seconds("step", found, "1m"), _seconds("range", found, "14d")
    if not 1.0 <= step <= 86_400.0:
        raise BadParameter("step must be from 1s to 1d")
    if not 60 * step <= seconds <= LONGEST:
        raise BadParameter("range must be at least 60 steps, and 14d at most")
    return Question(expr, name, step, seconds, _choice(found), channels, found.get("job", ""))


def channels_of(found: Mapping[str, str]) -> dict[str, str]:
    """Return the PromQL by channel of the fields of a form."""
    return {name.removeprefix(CHANNEL): value for name, value in found.items() if name.startswith(CHANNEL)}


def _channels(found: Any) -> dict[str, str]:
    fits = isinstance(found, Mapping) and len(found) <= _MOST_CHANNELS
    if not fits or not all(isinstance(each, str) and 0 < len(each) <= _LONGEST_NAME for each in found):
        raise BadParameter(f"channels must be PromQL by name, {_MOST_CHANNELS} at most")
    if not all(isinstance(expr, str) and expr.strip() for expr in found.values()):
        raise BadParameter("write a PromQL expression for each channel first")
    return {name: expr.strip() for name, expr in found.items()}


def choice_of(found: Mapping[str, Any]) -> Choice | None:
    """Return the settings that may be moved, None where none is named. Raises BadParameter."""
    return _choice(found) if any(name in found for name in CHOICE) else None


def _choice(found: Mapping[str, Any]) -> Choice:
    direction = found.get("direction") or "both"
    known: dict[str, Direction] = {"above": "above", "below": "below", "both": "both"}
    if not isinstance(direction, str) or direction not in known:
        raise BadParameter("direction must be above, below or both")
    return Choice(known[direction], _number("least_deviation", found, 0.0, 0.0), _number("budget", found, 1.0, 1e-3))


def rows_of(text: str) -> list[int]:
    """Return the numbers of series whose curves are asked for. Raises BadParameter."""
    parts = [part for part in text.split(",") if part]
    if len(parts) > _MOST_ROWS or not all(part.isascii() and part.isdigit() and len(part) < 6 for part in parts):
        raise BadParameter(f"row must be numbers of series, {_MOST_ROWS} at most, separated by commas")
    return [int(part) for part in parts]


def seconds_of(found: Mapping[str, Any]) -> float:
    """Return the range of a look back in seconds. Raises BadParameter."""
    seconds = _seconds("range", found, "7d")
    if not 3600.0 <= seconds <= LONGEST:
        raise BadParameter("range must be from 1h to 14d")
    return seconds


def _seconds(name: str, found: Mapping[str, Any], default: str) -> float:
    value = default if (given := found.get(name)) is None or given == "" else given
    try:
        return float(duration(value))
    except (ValueError, TypeError):
        raise BadParameter(f"{name} must be a duration such as {default}") from None


def _number(name: str, found: Mapping[str, Any], default: float, least: float) -> float:
    value = found.get(name)
    if value is None or value == "":
        return default
    try:
        number = float(value)
    except (ValueError, TypeError):
        number = -1.0
    if isinstance(value, bool) or not least <= number <= _MOST:
        raise BadParameter(f"{name} must be a number, at least {least:g}")
    return number
