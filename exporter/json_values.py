"""Numbers and times as JSON has them, and JSON of others: whatever is wrong with it is a ValueError."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def from_json(text: str | bytes) -> Any:
    """Return what JSON says. Raises ValueError for what is no JSON, or is nested more deeply than anything honest."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def typed_json(text: str | bytes, kind: type[T]) -> T:
    """Return JSON of a known form. Raises ValueError for anything else, as `from_json` does."""
    try:
        return msgspec.json.decode(text, type=kind)
    except RecursionError:
        raise ValueError("is nested too deeply") from None


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
