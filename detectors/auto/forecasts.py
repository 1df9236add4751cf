"""Forecasts of a series: its level, a profile of the day and a profile of the week; the best of them is used."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import Rows
from detectors.entity_state import Column
from detectors.seasonality import SeasonalTime, SlotWeights
from detectors.types import Flags, Floats
from detectors.units import DAY, HOUR, WEEK

READY: Final = 30
"""Samples before there is a score, and before a predictor is used."""
PREDICTORS: Final = 3
"""Level, day, week."""
BETTER: Final = 0.8
"""Another predictor is selected when its mean error is below this share of the present one's."""
_PROFILES: Final = (("day", 24, 4.0), ("week", 168, 3.0))
"""Name, number of slots, and number of visits over which a slot is averaged."""
_MEANS: Final = (("now", 120.0, 1.5), ("hour", HOUR, 3.0), ("quarter", 6 * HOUR, 6.0))
"""Moving averages of the residual: name, seconds, smallest number of samples."""


def columns(rows: tuple[int, ...]) -> dict[str, Column]:
    """Return the state columns of an entity with series of shape `rows`."""
    three = (*rows, PREDICTORS)
    profiles = {}
    for name, slots, _ in _PROFILES:
        profiles[name] = Column(0.0, (*rows, slots), np.float32)
        profiles[f"{name}_visits"] = Column(0.0, (*rows, slots), np.float32)  # samples, by their weight
    return profiles | {
        "level": Column(0.0, rows),
        "selected": Column(0, rows, np.uint8),
        "compared": Column(0.0, three),  # samples behind the errors
        "error": Column(0.0, three),  # mean |residual|
        "square": Column(0.0, three),  # mean square of the residual
        "now": Column(0.0, three),
        "hour": Column(0.0, three),
        "quarter": Column(0.0, three),
        "hour_square": Column(0.0, three),
        "quarter_square": Column(0.0, three),
    }


@dataclass(frozen=True, slots=True, eq=False)
class Residuals:
    """Forecasts and residuals of the three predictors for one sample of R series; (R, 3), but `selected` is (R,)."""

    value: Floats
    low: Floats
    high: Floats
    usable: Flags
    residual: Floats  # 0 between the values of the two neighbouring slots: half an hour late is not anomalous
    selected: NDArray[np.intp]
    now: Floats
    hour: Floats
    quarter: Floats


def observe(rows: Rows, x: Floats, at: SeasonalTime, frozen: Flags, gap: Floats) -> Residuals:
    """Compare the samples `x`, `gap` seconds after the previous ones, with the forecasts. Learns nothing."""
    value, low, high = (np.empty((len(x), PREDICTORS)) for _ in range(3))
    usable = np.ones((len(x), PREDICTORS), np.bool_)
    value[:, 0] = low[:, 0] = high[:, 0] = rows["level"]
    age = rows["seen"] * at.step + rows["inherited"]
    for p, (name, slots, least) in enumerate((("day", at.day, 0.0), ("week", at.week, 0.4 * at.per_hour)), 1):
        first, second = rows[name][:, slots.before], rows[name][:, slots.after]
        visits = rows[f"{name}_visits"]
        value[:, p] = (1 - slots.share) * first + slots.share * second
        low[:, p], high[:, p] = np.minimum(first, second), np.maximum(first, second)
        seen = np.minimum(visits[:, slots.before], visits[:, slots.after])
        usable[:, p] = (seen > 0) & (seen >= least) & (age >= (DAY, WEEK)[p - 1] + HOUR)
    residual = np.where(usable, x[:, None] - np.clip(x[:, None], low, high), 0.0)
    means = []
    for name, span, least in _MEANS:
        mean = rows[name]
        if (gap > 2.5 * at.step).any():
            mean = mean * np.where(gap > 2.5 * at.step, np.exp(-gap / span), 1.0)[:, None]
        gain = np.maximum(1.0 / (rows["compared"] + 1), 1.0 / max(span / at.step, least))
        means.append(mean + np.where(usable, gain, 0.0) * (residual - mean))
    selected = _select(rows, usable, at, frozen)
    return Residuals(value, low, high, usable, residual, selected, *means)


def _select(rows: Rows, usable: Flags, at: SeasonalTime, frozen: Flags) -> NDArray[np.intp]:
    """Return the predictor to use, shape (R,). It does not change during an incident; the level is the fallback."""
    each, present = np.arange(len(frozen)), rows["selected"].astype(np.intp)
    known = usable & (rows["compared"] * at.step >= DAY)
    known[:, 0] = True
    error = np.where(known, rows["error"], np.inf)
    best = error.argmin(axis=1)
    change = ~frozen & (error[each, best] < BETTER * rows["error"][each, present])
    selected = np.where(change, best, present)
    return np.where(usable[each, selected], selected, 0)


def learn(rows: Rows, x: Floats, seen: Residuals, at: SeasonalTime, learn: Flags, floor: Floats) -> None:
    """Learn the sample: level and errors where `learn`, and slots also where they are visited for the first time.

    `floor`, shape (R,), is the smallest standard deviation of a residual.
    """
    for name in ("now", "hour", "quarter"):
        rows[name][...] = getattr(seen, name)
    best = rows["selected"]
    usable = seen.usable[np.arange(len(x)), best]
    best[...] = np.where(usable | (seen.selected != 0), seen.selected, best)
    n = rows["samples"] + 1
    rows["level"][...] += np.where(learn, np.maximum(1.0 / n, at.step / DAY), 0.0) * (x - rows["level"])
    for p, (name, _, visits) in enumerate(_PROFILES, 1):
        slots = (at.day, at.week)[p - 1]
        _learn_profile(rows[name], rows[f"{name}_visits"], x, slots, learn, at.per_hour, visits)
    which = seen.usable & learn[:, None]
    compared = rows["compared"]
    compared += which
    gain = np.where(which, np.maximum(1.0 / np.maximum(compared, 1.0), at.step / WEEK), 0.0)
    settled = compared * at.step + rows["inherited"][:, None] >= DAY
    least = floor[:, None]

    def mean(name: str, value: Floats, limit: float, smallest: Floats) -> None:
        known = rows[name]
        value = np.where(settled, np.minimum(value, limit * np.maximum(known, smallest)), value)
        known += gain * (value - known)

    mean("error", np.abs(seen.residual), 5.0, least)
    mean("square", seen.residual**2, 25.0, least**2)
    mean("hour_square", seen.hour**2, 25.0, least**2)
    mean("quarter_square", seen.quarter**2, 25.0, least**2)


def _learn_profile(
    profile: NDArray[np.float32],
    visits: NDArray[np.float32],
    x: Floats,
    slots: SlotWeights,
    learn: Flags,
    per_hour: float,
    memory: float,
) -> None:
    weights = ((slots.before, 1 - slots.share), (slots.after, slots.share))
    new = [visits[:, slot] == 0 for slot, _ in weights]
    for (slot, _), first in zip(weights, new, strict=True):
        profile[:, slot] = np.where(first, x, profile[:, slot])
    error = x - sum(weight * profile[:, slot] for slot, weight in weights)
    for slot, weight in weights:
        count = visits[:, slot]
        which = learn | (count < per_hour)
        count = np.minimum(count + weight, memory * per_hour)
        gain = np.maximum(np.minimum(1.0 / np.maximum(count, 1e-9), 1.0), 1.0 / (memory * per_hour))
        profile[:, slot] += np.where(which, gain * weight, 0.0) * error
        visits[:, slot] = np.where(which, count, visits[:, slot])


def close(rows: Rows, which: NDArray[np.intp]) -> None:
    """Reset the averaged residuals of series whose incident ends."""
    rows["hour"][which] = rows["quarter"][which] = 0.0


def rebaseline(rows: Rows, which: NDArray[np.intp], level: Floats, at: SeasonalTime) -> None:
    """Move the predictors of the series `which` to the last hour; `level` is its mean.

    The new level may have another rhythm, so the errors start over and every slot counts as in its first visit.
    """
    rows["day"][which] += rows["hour"][which, 1, None]
    rows["week"][which] += rows["hour"][which, 2, None]
    rows["level"][which] = level
    rows["compared"][which] = np.minimum(rows["compared"][which], READY)
    for name, _, _ in _PROFILES:
        visits = rows[f"{name}_visits"]
        visits[which] = np.minimum(visits[which], 0.5 * at.per_hour)
