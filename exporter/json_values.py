"""Numbers as JSON has them."""

import math
from collections.abc import Mapping


def finite(number: float) -> float | None:
    """Return a number as JSON has it: None for NaN and infinity."""
    return float(number) if math.isfinite(number) else None


def finite_values(numbers: Mapping[str, float]) -> dict[str, float | None]:
    """Return named numbers as JSON has them."""
    return {name: finite(value) for name, value in numbers.items()}
