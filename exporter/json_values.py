"""Numbers and times as JSON has them."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime


def finite(number: float) -> float | None:
    """Return a number as JSON has it: None for NaN and infinity."""
    return float(number) if math.isfinite(number) else None


def finite_values(numbers: Mapping[str, float]) -> dict[str, float | None]:
    """Return named numbers as JSON has them."""
    return {name: finite(value) for name, value in numbers.items()}


def utc(seconds: float) -> str | None:
    """Return a time, given in Unix seconds, as JSON has it: None for NaN and infinity.

    >>> utc(1_767_607_560.0)
    '2026-01-05T10:06:00.000Z'
    """
    if not math.isfinite(seconds):
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
