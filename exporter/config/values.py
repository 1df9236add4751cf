"""Values of the configuration: durations, sizes, rates, PromQL, and times as Alertmanager writes them."""

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

from detectors.units import DAY, HOUR, MINUTE, WEEK
from exporter.promql import format_duration

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": MINUTE, "h": HOUR, "d": DAY, "w": WEEK}
_BYTES: Final = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_LONGEST: Final = 100 * 365 * DAY
_LARGEST: Final = 2**50
_LATEST: Final = 253_402_300_800.0
"""The year 10000 in Unix seconds: beyond it is not a date but another unit."""
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+")
_PERIODS: Final = {"hour": "h", "day": "d", "week": "w"}
_RATE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(?:per|/)\s*(hour|day|week)")
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")


def duration(value: object) -> float:
    """Turn `90`, `"90s"` or `"1h30m"` into seconds. Raises ValueError."""
    seconds = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and _DURATION.fullmatch(text := value.replace(" ", "")):
        seconds = sum(float(n) * _SECONDS[unit] for n, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|[smhdw])", text))
    if not 0 <= seconds <= _LONGEST:
        raise ValueError(f"{shown(value)} is not a duration; use for example 30s, 5m, 1h30m or 7d")
    return seconds


def duration_or_auto(value: object) -> float | str:
    """Turn a duration longer than 0s into seconds and leave `"auto"` as it is. Raises ValueError."""
    if value == "auto":
        return "auto"
    try:
        seconds = duration(value)
    except ValueError as error:
        raise ValueError(f"{error}, or auto") from None
    if seconds <= 0:
        raise ValueError("must be longer than 0s, or auto")
    return seconds


def moment(text: str) -> float:
    """Turn ISO 8601 (UTC where no zone is given) or Unix seconds into Unix seconds. Raises ValueError."""
    try:
        seconds = float(text)
    except ValueError:
        date = datetime.fromisoformat(text.strip())
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    if not 0 <= seconds < _LATEST:
        raise ValueError(f"{text!r} is not a time between 1970 and 9999 in seconds")
    return seconds


def rate_per_week(value: object) -> float:
    """Turn `"1 per week"` or `"2/day"` into events per week. Raises ValueError."""
    if isinstance(value, str) and (match := _RATE.fullmatch(value.strip())):
        return float(match[1]) * WEEK / _SECONDS[_PERIODS[match[2]]]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise ValueError(f"{shown(value)} is not a rate; use for example '1 per week' or '2 per day'")


def size(value: object) -> int:
    """Turn `"64 MiB"` or a number into bytes. Raises ValueError."""
    count = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        count = value
    elif isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())) and match[2] in _BYTES:
        count = float(match[1]) * _BYTES[match[2]]
    if not 1 <= count <= _LARGEST:
        raise ValueError(f"{shown(value)} is not a size; use for example 500 kB, 64 MiB or 1 GiB")
    return int(count)


def format_size(count: int) -> str:
    """Write bytes in the largest unit that keeps the number whole: `67108864` becomes `64 MiB`."""
    for unit in ("GiB", "MiB", "KiB"):
        if count % _BYTES[unit] == 0:
            return f"{count // _BYTES[unit]} {unit}"
    return f"{count} B"


def shown(value: object) -> str:
    """Write a wrong value for a message: containers by their kind, long text cut."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping of keys"
    if isinstance(value, list | tuple):
        return "a list"
    text = f"{value:.12g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


Duration = Annotated[float, BeforeValidator(duration), PlainSerializer(format_duration, when_used="json")]
"""Seconds, written as a human duration."""
RatePerWeek = Annotated[float, BeforeValidator(rate_per_week)]
"""Events per week, written as `1 per week`."""
Size = Annotated[int, BeforeValidator(size)]
"""Bytes, written as `64 MiB`."""


_TOKEN: Final = re.compile(
    r"""
    (?P<comment>\#[^\n]*)
  | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
  | (?P<quote>["'`])
  | (?P<open>[(\[{])
  | (?P<close>[)\]}])
    """,
    re.VERBOSE,
)
_PARTNER: Final = {")": "(", "]": "[", "}": "{"}


def balanced(expr: str) -> str:
    """Return `expr` as it is. Raises ValueError when it is blank or a bracket or quote has no partner."""
    opened: list[re.Match[str]] = []
    blank = True
    for match in _TOKEN.finditer(expr):
        if match.lastgroup == "quote":
            raise ValueError(f"the quote {match[0]} at character {match.start() + 1} is never closed")
        if match.lastgroup == "open":
            opened.append(match)
        elif match.lastgroup == "close":
            if not opened:
                raise ValueError(f"the bracket {match[0]} at character {match.start() + 1} closes nothing")
            last = opened.pop()
            if last[0] != _PARTNER[match[0]]:
                raise ValueError(
                    f"the bracket {last[0]} at character {last.start() + 1} is closed by {match[0]} "
                    f"at character {match.start() + 1}"
                )
        blank = blank and match.lastgroup == "comment"
    if opened:
        raise ValueError(f"the bracket {opened[-1][0]} at character {opened[-1].start() + 1} is never closed")
    if blank and not re.sub(r"#[^\n]*", "", expr).strip():
        raise ValueError("is empty; write a PromQL expression")
    return expr


WEEKDAYS: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
MONTHS: Final = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]-(?:([01][0-9]|2[0-3]):[0-5][0-9]|24:00)")


def _as_texts(value: object) -> object:
    # YAML reads 2030 as a number; Alertmanager wants text.
    if isinstance(value, list | tuple):
        return [str(item) if isinstance(item, int) and not isinstance(item, bool) else item for item in value]
    return value


def _times(texts: tuple[str, ...]) -> tuple[str, ...]:
    for text in texts:
        if not _TIME.fullmatch(text) or len(set(text.split("-"))) == 1:
            raise ValueError(f"{text!r} is not a time range; use for example 22:00-06:00")
    return texts


def _ranges(
    what: str, least: int, most: int, names: Sequence[str] = ()
) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    def number(text: str) -> int:
        if text.lower() in names:
            return names.index(text.lower()) + least
        found = int(text) if re.fullmatch(r"-?[0-9]{1,4}", text) and (not names or least == 1) else None
        if found is None or not least <= found <= most or (least < 0 and found == 0):
            raise ValueError(f"{text!r} is no {what}")
        return found

    def check(texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            begin, _, end = text.partition(":")
            first, last = number(begin), number(end or begin)
            if first > last and (first > 0) == (last > 0):
                raise ValueError(f"{text!r} ends before it begins")
        return tuple(text.lower() for text in texts)

    return check


Times = Annotated[tuple[str, ...], AfterValidator(_times)]
Weekdays = Annotated[tuple[str, ...], AfterValidator(_ranges("day of the week", 0, 6, WEEKDAYS))]
Days = Annotated[tuple[str, ...], BeforeValidator(_as_texts), AfterValidator(_ranges("day of the month", -31, 31))]
Months = Annotated[tuple[str, ...], BeforeValidator(_as_texts), AfterValidator(_ranges("month", 1, 12, MONTHS))]
Years = Annotated[tuple[str, ...], BeforeValidator(_as_texts), AfterValidator(_ranges("year", 1970, 9999))]


def spans(text: str) -> list[tuple[str, str]]:
    """Return begin and end of a span of the day; one over midnight is two.

    >>> spans("22:00-06:00")
    [('22:00', '24:00'), ('00:00', '06:00')]
    """
    begin, _, end = text.partition("-")
    if begin < end:
        return [(begin, end)]
    return [(begin, "24:00"), *([("00:00", end)] if end != "00:00" else [])]
