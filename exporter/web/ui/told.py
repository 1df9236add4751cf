"""Every sample of a series in a sentence: what the cursor on a graph reads out."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from detectors.types import Floats
from exporter import incident_wording as wording
from exporter.json_values import finite
from exporter.query_units import Unit
from exporter.sinks.recent import Curves


def samples_told(
    curves: Curves, before: Sequence[Floats], channels: Sequence[str], units: Mapping[str, Unit]
) -> list[str]:
    """Return a sentence for each of N samples; `before`, shapes (N, C), are values of one other time, or of two."""
    return [": ".join((f"{wording.moment(time, dated=True)} UTC", _sample(curves, before, channels, units, row)))
            for row, time in enumerate(curves.times.tolist())]  # fmt: skip


def _sample(
    curves: Curves, before: Sequence[Floats], channels: Sequence[str], units: Mapping[str, Unit], row: int
) -> str:
    parts = list(_channels(curves, before, channels, units, row))
    if math.isfinite(score := float(curves.score[row])):
        parts.append(f"score {wording.number(score)}")
    if curves.alert[row] > 0:
        parts.append("alert")
    elif curves.flag[row] > 0:
        parts.append("incident open")
    return wording.BETWEEN.join(parts)


def _channels(
    curves: Curves, before: Sequence[Floats], channels: Sequence[str], units: Mapping[str, Unit], row: int
) -> Iterator[str]:
    for at, name in enumerate(channels):
        unit = units.get(name, "")
        value, expected, lower, upper = (
            finite(each[row, at]) for each in (curves.value, curves.expected, curves.lower, curves.upper)
        )
        text = wording.reading(value, expected, lower, upper, None, unit, unusual=bool(curves.flag[row] > 0))
        for other, word in zip(before, ("then", "a week earlier"), strict=False):
            if np.isfinite(other[row, at]):
                text += f", {word} {wording.number(float(other[row, at]), unit)}"
        yield f"{name}: {text}" if len(channels) > 1 else text
