"""Forecasts of a series: its level, a profile of the day and a profile of the week; the best of them is used."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from detectors.auto import noise
from detectors.calibration import Rows
from detectors.entity_state import Column
from detectors.seasonality import SeasonalTime, SlotWeights
from detectors.types import Flags, Floats
from detectors.units import DAY, HOUR, MINUTE, WEEK

READY: Final = 30
"""Samples before there is a score, and before a predictor is used."""
PREDICTORS: Final = 3
"""Level, day, week."""
BETTER: Final = 0.8
"""Another predictor is selected when its mean error is below this share of the present one's."""
_HOURS: Final = 24
_PROFILES: Final = (("day", 2 * _HOURS, 4.0), ("week", 7 * _HOURS, 3.0))
"""Name, number of slots, and number of visits over which a slot is averaged. The day has hours for each type of day."""
_LIVED: Final = 0.9
"""Visits after which an hour of a type of day is known; before, it is guessed from the other type."""
_TWICE: Final = 1.8
"""Visits from which a forecast rests on two days."""
_COMPARED: Final = DAY / 4
"""Seconds of comparing before a predictor may be selected: a rhythm shows within a quarter of a day."""
_SHIFT: Final = 30 * MINUTE
"""Time constant with which guesses follow the level: a first weekend is lower, and how much shows within an hour."""
_SECONDS: Final = np.array([0.0, 3 * MINUTE, 10 * MINUTE, 30 * MINUTE])
_LEAST: Final = np.array([1.0, 1.0, 3.0, 6.0])
"""Spans of the means of the residual, and their smallest number of samples. The first one is the residual itself."""
MEANS: Final = len(_SECONDS)
_FILLED: Final = 4.0
"""Times a mean was filled before its own deviation counts in full."""


def columns(rows: tuple[int, ...]) -> dict[str, Column]:
    """Return the state columns of an entity with series of shape `rows`."""
    three = (*rows, PREDICTORS)
    profiles = {}
    for name, slots, _ in _PROFILES:
        profiles[name] = Column(0.0, (*rows, slots), np.float32, outer=1)
        profiles[f"{name}_visits"] = Column(0.0, (*rows, slots), np.float32, outer=1)  # samples, by their weight
    return profiles | {
        "level": Column(0.0, rows),
        "shift": Column(0.0, rows),  # of guessed hours against the other type of day
        "selected": Column(0, rows, np.uint8),
        "compared": Column(0.0, three, outer=1),  # samples behind the errors
        "error": Column(0.0, three, outer=1),  # mean |residual|
        "means": Column(0.0, (*three, MEANS), outer=2),  # of the residual
        "squares": Column(0.0, (*three, MEANS), outer=2),  # mean squares of these
        **noise.columns(rows),
    }


@dataclass(frozen=True, slots=True, eq=False)
class Forecasts:
    """What is known before a sample of R series comes; shape (R, 3) unless noted."""

    value: Floats
    low: Floats
    high: Floats
    usable: Flags
    selected: NDArray[np.intp]  # (R,)
    spread: Floats  # (R,), noise at this hour relative to that of the whole day
    heaviness: Floats  # (R,), of the noise
    guessed: Flags  # (R,), the hour was never lived through on this type of day: its forecast is that of the other type
    once: Flags  # (R,), the hour was lived through no more than once, and its forecast is that one time
    means: Floats  # (R, 3, MEANS), of the residuals so far
    gain: Floats  # (R, 3, MEANS), share of the next residual in them


@dataclass(frozen=True, slots=True, eq=False)
class Residuals:
    """Forecasts and residuals of the three predictors for one sample of R series; shape (R, 3) unless noted.

    Residuals and their means are in units of the noise of the hour (`spread`).
    """

    value: Floats
    low: Floats
    high: Floats
    usable: Flags
    residual: Floats  # 0 between the values of the two neighbouring slots: half an hour late is not anomalous
    means: Floats  # (R, 3, MEANS)
    selected: NDArray[np.intp]  # (R,)
    spread: Floats  # (R,)
    heaviness: Floats  # (R,)
    guessed: Flags  # (R,)
    once: Flags  # (R,)


def spans(step: float) -> Floats:
    """Return the number of samples of each mean, shape (MEANS,)."""
    samples: Floats = np.maximum(_SECONDS / step, _LEAST)
    return samples


def forecast(rows: Rows, at: SeasonalTime, frozen: Flags, gap: Floats) -> Forecasts:
    """Forecast the samples of a time, `gap` seconds after the previous ones."""
    count = len(gap)
    value, low, high = (np.empty((count, PREDICTORS), order="F") for _ in range(3))
    usable = np.ones((count, PREDICTORS), np.bool_, order="F")
    value[:, 0] = low[:, 0] = high[:, 0] = rows["level"]
    age = rows["seen"] * at.step + rows["inherited"]
    of_day, guesses = zip(
        *(_or_other_type(rows, slot, at.per_hour) for slot in (at.day_type.before, at.day_type.after)), strict=True
    )
    of_week = [(rows["week"][:, slot], rows["week_visits"][:, slot]) for slot in (at.week.before, at.week.after)]
    for p, (slots, share, least, oldest) in enumerate(
        ((of_day, at.day_type.share, 0.0, DAY), (of_week, at.week.share, 0.4 * at.per_hour, WEEK)), 1
    ):
        (first, visits_before), (second, visits_after) = slots
        value[:, p] = (1 - share) * first + share * second
        low[:, p], high[:, p] = np.minimum(first, second), np.maximum(first, second)
        seen = np.minimum(visits_before, visits_after)
        usable[:, p] = (seen > 0) & (seen >= least) & (age >= oldest + HOUR)
    heaviness = noise.heaviness(rows)
    spread = noise.spread(rows, at, heaviness, noise.of_counts(rows, value[:, 1], usable[:, 1], heaviness))
    means = rows["means"]
    torn = gap > 2.5 * at.step
    if torn.any():
        faded = np.exp(-gap[:, None] / np.maximum(_SECONDS, 1.0))
        means = means * np.where(torn[:, None], faded, 1.0)[:, None, :]
    gain = _beside(count)
    np.maximum(1.0 / (rows["compared"] + 1)[:, :, None], 1.0 / spans(at.step), out=gain)
    gain *= usable[:, :, None]
    guessed = (guesses[0] | guesses[1]) & usable[:, 1]
    once = np.minimum(of_day[0][1], of_day[1][1]) < _TWICE * at.per_hour
    selected = _select(rows, usable, at, frozen)
    return Forecasts(
        value, low, high, usable, selected, spread, heaviness, guessed, once & (selected == 1), means, gain
    )


def observe(known: Forecasts, x: Floats) -> Residuals:
    """Compare the samples `x`, shape (R,), with their forecasts, whose `gain` is used up. Learns nothing."""
    usable, means = known.usable, known.gain  # in place: one array in the cache instead of three
    residual = np.where(usable, x[:, None] - np.clip(x[:, None], known.low, known.high), 0.0) / known.spread[:, None]
    means *= residual[:, :, None] - known.means
    means += known.means
    means[:, :, 0] = residual
    return Residuals(
        known.value, known.low, known.high, usable, residual, means, known.selected, known.spread, known.heaviness,
        known.guessed, known.once,
    )  # fmt: skip


def _beside(count: int, dtype: DTypeLike = np.float64) -> NDArray[Any]:
    """Return an array of shape (count, 3, MEANS) with the rows side by side in memory, as in the state.

    What numpy makes of shapes that are broadcast together lies otherwise, and takes two to three times as long.
    """
    return np.empty((PREDICTORS, MEANS, count), dtype).transpose(2, 0, 1)


def deviations(rows: Rows, step: float) -> tuple[Floats, Flags]:
    """Return the standard deviation of each mean, and whether the mean is used; shape (R, 3, MEANS).

    Until a mean was filled several times its spread cannot be told. So long it counts as wide as the samples' own, by a
    share that falls with their number. A mean of fewer than two samples is the residual again and not used.
    """
    span, count, squares = spans(step), rows["compared"][:, :, None], rows["squares"]
    square, used = _beside(len(count)), _beside(len(count), np.bool_)
    np.add(_FILLED * span, count, out=square)  # in place from here on: one array in the cache instead of six
    np.divide(_FILLED * span, square, out=square)
    square[:, :, 0] = 1.0
    np.square(square, out=square)
    square *= squares[:, :, :1]
    np.maximum(squares, square, out=square)
    np.sqrt(square, out=square)
    enough = np.where(_SECONDS == 0, READY, np.where(span >= 2, _FILLED * span, np.inf))
    np.greater_equal(count, enough, out=used)
    return square, used


def _select(rows: Rows, usable: Flags, at: SeasonalTime, frozen: Flags) -> NDArray[np.intp]:
    """Return the predictor to use, shape (R,). It does not change during an incident; the level is the fallback."""
    each, present = np.arange(len(frozen)), rows["selected"].astype(np.intp)
    known = usable & (rows["compared"] * at.step >= _COMPARED)
    known[:, 0] = True
    error = np.where(known, rows["error"], np.inf)
    best, least = np.zeros(len(frozen), np.intp), error[:, 0]
    for predictor in range(1, PREDICTORS):  # argmin() of three numbers takes several times as long
        best = np.where(error[:, predictor] < least, predictor, best)
        least = np.minimum(least, error[:, predictor])
    change = ~frozen & (least < BETTER * rows["error"][each, present])
    selected = np.where(change, best, present)
    return np.where(usable[each, selected], selected, 0)


def learn(
    rows: Rows, x: Floats, seen: Residuals, at: SeasonalTime, learn: Flags, recurring: Flags, floor: Floats
) -> None:
    """Learn the sample: level and errors where `learn`, and slots also where they are visited for the first time.

    Residuals that are `recurring` or of a guess are no noise. `floor`, shape (R,), is the smallest standard deviation
    of a residual.
    """
    rows["means"][...] = seen.means
    each, best = np.arange(len(x)), rows["selected"]
    before = best.copy()
    best[...] = np.where(seen.usable[each, best] | (seen.selected != 0), seen.selected, best)
    first = np.flatnonzero((before == 0) & (best != 0))
    if len(first):  # what a level misses of a rhythm says where the rhythm is strong, not how noisy an hour is
        to = best[first].astype(np.intp)
        noise.restart(rows, first, rows["error"][first, to], rows["squares"][first, to, 0])
    n = rows["samples"] + 1
    rows["level"][...] += np.where(learn, np.maximum(1.0 / n, at.step / DAY), 0.0) * (x - rows["level"])
    follow = max(at.step / _SHIFT, 1.0 / 6)
    moved = rows["shift"] + np.where(learn, follow, 0.0) * (x - seen.value[:, 1])
    rows["shift"][...] = np.where(seen.guessed, moved, 0.0)
    for slots, (name, _, most) in zip((at.day_type, at.week), _PROFILES, strict=True):
        _learn_profile(rows[name], rows[f"{name}_visits"], x, slots, learn, at.per_hour, most)
    which = seen.usable & (learn & ~recurring)[:, None]
    which[:, 1] &= ~seen.guessed
    whole = np.where(seen.usable, x[:, None] - seen.value, 0.0) / seen.spread[:, None]
    noise.learn(rows, whole[each, seen.selected], seen.spread, at, which[each, seen.selected])
    compared = rows["compared"]
    compared += which
    gain = np.where(which, np.maximum(1.0 / np.maximum(compared, 1.0), at.step / WEEK), 0.0)
    settled = compared * at.step + rows["inherited"][:, None] >= DAY
    least = floor[:, None]
    error, size = rows["error"], np.abs(seen.residual)
    squares, square = rows["squares"], np.square(seen.means)
    square[:, :, 0] = whole**2
    if settled.any():
        size = np.where(settled, np.minimum(size, 5.0 * np.maximum(error, least)), size)
        limit = np.maximum(squares, least[:, :, None] ** 2)
        limit *= 25.0
        np.copyto(limit, np.inf, where=~settled[:, :, None])
        np.minimum(square, limit, out=square)
    error += gain * (size - error)
    square -= squares
    square *= gain[:, :, None]
    squares += square


def _or_other_type(rows: Rows, slot: int, per_hour: float) -> tuple[tuple[Floats, Floats], Flags]:
    """Return value and visits of a slot of the day, and where they are guessed from the other type of day."""
    other = (slot + _HOURS) % (2 * _HOURS)
    values, visits = rows["day"], rows["day_visits"]
    guessed = (visits[:, slot] < _LIVED * per_hour) & (visits[:, other] > 0)
    value = np.where(guessed, values[:, other] + rows["shift"], values[:, slot])
    return (value, np.where(guessed, visits[:, other], visits[:, slot])), guessed


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
        if first.any():
            profile[:, slot] = np.where(first, x, profile[:, slot])
    error = x - sum(weight * profile[:, slot] for slot, weight in weights)
    for slot, weight in weights:
        count = visits[:, slot]
        visit = count < per_hour  # the first one: the mean of its samples, which a slope does not bend
        which = learn | visit
        count = np.minimum(count + weight, memory * per_hour)
        gain = np.maximum(np.minimum(1.0 / np.maximum(count, 1e-9), 1.0), 1.0 / (memory * per_hour))
        miss = np.where(visit, x - profile[:, slot], error) if visit.any() else error
        profile[:, slot] += np.where(which, gain * weight, 0.0) * miss
        visits[:, slot] = np.where(which, count, visits[:, slot])


def close(rows: Rows, which: NDArray[np.intp]) -> None:
    """Reset the averaged residuals of series whose incident ends."""
    rows["means"][which] = 0.0


def rebaseline(rows: Rows, which: NDArray[np.intp], level: Floats, spread: Floats, at: SeasonalTime) -> None:
    """Move the predictors of the series `which` (N,) to the last half hour; `level` (N,) is the mean of the last hour.

    `spread`, shape (N,), is the noise that the residuals are in units of. The new level may have another rhythm, so the
    errors start over and every slot counts as in its first visit.
    """
    shift = rows["means"][which, :, -1] * spread[:, None]
    guessed = rows["shift"][which] != 0  # the other type of day keeps what it has learnt
    rows["shift"][which] += np.where(guessed, shift[:, 1], 0.0)
    rows["day"][which] += np.where(guessed, 0.0, shift[:, 1])[:, None]
    rows["week"][which] += shift[:, 2, None]
    rows["level"][which] = level
    rows["compared"][which] = np.minimum(rows["compared"][which], READY)
    for name, _, _ in _PROFILES:
        visits = rows[f"{name}_visits"]
        visits[which] = np.minimum(visits[which], 0.5 * at.per_hour)
