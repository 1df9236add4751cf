"""Human quantities in a configuration: durations, rates, sizes."""

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, PlainSerializer

_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES: Final = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+")
_PERIODS: Final = {"hour": "h", "day": "d", "week": "w"}
_RATE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(?:per|/)\s*(hour|day|week)")
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)")


def duration(value: object) -> float:
    """Turn `90`, `"90s"` or `"1h30m"` into seconds. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and _DURATION.fullmatch(text := value.replace(" ", "")):
        return sum(float(n) * _SECONDS[unit] for n, unit in re.findall(r"(\d+(?:\.\d+)?)(ms|[smhdw])", text))
    raise ValueError(f"{value!r} is no duration; write for example 30s, 5m, 1h30m or 7d")


def format_duration(seconds: float) -> str:
    """Write seconds in the largest units Prometheus understands: `5400` becomes `1h30m`."""
    parts, rest = [], round(seconds * 1000)
    for unit in ("w", "d", "h", "m", "s", "ms"):
        size = round(_SECONDS[unit] * 1000)
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def rate_per_week(value: object) -> float:
    """Turn `"1 per week"` or `"2/day"` into events per week. Raises ValueError."""
    if isinstance(value, str) and (match := _RATE.fullmatch(value.strip())):
        return float(match[1]) * _SECONDS["w"] / _SECONDS[_PERIODS[match[2]]]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise ValueError(f"{value!r} is no rate; write for example '1 per week' or '2 per day'")


def size(value: object) -> int:
    """Turn `"64 MiB"` or a number into bytes. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and (match := _SIZE.fullmatch(value.strip())) and match[2] in _BYTES:
        return int(float(match[1]) * _BYTES[match[2]])
    raise ValueError(f"{value!r} is no size; write for example 500 kB, 64 MiB or 1 GiB")


Duration = Annotated[float, BeforeValidator(duration), PlainSerializer(format_duration, when_used="json")]
"""Seconds, written as a human duration."""
RatePerWeek = Annotated[float, BeforeValidator(rate_per_week)]
"""Events per week, written as `1 per week`."""
Size = Annotated[int, BeforeValidator(size)]
"""Bytes, written as `64 MiB`."""
