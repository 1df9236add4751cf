"""Distance of the newest sample from the usual value of its hour of the day and of the week, learnt online."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Annotated, Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from detectors.entity_state import Column, LazyEntityState
from detectors.rolling_baseline import MEAN_DEVIATION_TO_SIGMA
from detectors.seasonality import SeasonalTime, Singles, SlotWeights, average, learn_hour, time_zone
from detectors.stateful import StatefulDetector
from detectors.streams import of_deviation
from detectors.types import Batch, Flags, Floats, Judgement, State
from detectors.units import DAY, HOUR

Rows = Mapping[str, NDArray[Any]]
OUTLIER: Final = 10.0
"""Residuals are clipped to this multiple of the mean residual before they are learnt, so one outlier moves little."""
OUTLIER_MISS: Final = 100.0
"""The same limit where predictors are compared. It is wide: a predictor that fails every night must lose."""
WORSE: Final = 1.25
"""A finer predictor is used until its mean residual exceeds that of a coarser one by this factor."""
VISITED: Final = 0.4
"""Share of an hour's samples that a slot needs before it is used."""
FIRST_DAYS: Final = 3
"""Visits of an hour of the day that are learnt even during an incident; for an hour of the week it is one."""
LARGEST: Final = 1e30
"""Larger values are scored but not learnt: float32 must hold their differences."""


@dataclass(frozen=True, slots=True, eq=False)
class _Expected:
    """Forecasts of level, day and week (last axis, P = 3) for one time, relative to the reference."""

    middle: Floats  # (E, C, P)
    low: Floats  # (E, C, P), of the two hours around the time
    high: Floats  # (E, C, P)
    usable: Flags  # (E, C, P)
    best: NDArray[np.intp]  # (E, C), index of the predictor in use
    spread: Floats  # (E, C), standard deviation of its residual; NaN before there are enough samples

    def of_best(self, values: Floats) -> Floats:
        """Return the values of the predictor in use, shape (E, C)."""
        best: Floats = np.take_along_axis(values, self.best[..., None], axis=2)[..., 0]
        return best


@dataclass(kw_only=True)
class Seasonal(StatefulDetector):
    """Residual of the newest sample from profiles of the day and of the week, relative to the usual residual.

    Every entity and channel has three predictors: a slow mean, the means of the 24 hours of the day, and those of the
    168 hours of the week, in local time and interpolated linearly between the centres of two hours. The finest
    predictor that is old enough is used, unless a coarser one has smaller residuals. Any value between those of the two
    hours around the sample has residual 0, so a pattern that comes half an hour late is not anomalous. The score is the
    residual in standard deviations, divided by `deviations`: 1 is the edge of the band.
    """

    window: Annotated[int, Field(ge=2, description="only the newest sample is used")] = 60
    deviations: Annotated[float, Field(gt=0, description="half width of the band in standard deviations")] = 6.0
    time_zone: Annotated[str, Field(description="time zone of hours and weekdays")] = "UTC"
    level_days: Annotated[float, Field(gt=0, le=90, description="days the level is the mean of")] = 1.0
    profile_days: Annotated[float, Field(ge=1, le=90, description="days an hour of the day is the mean of")] = 4.0
    profile_weeks: Annotated[float, Field(ge=1, le=52, description="weeks an hour of the week is the mean of")] = 3.0
    spread_days: Annotated[float, Field(gt=0, le=90, description="days the spread is the mean of")] = 7.0
    min_samples: Annotated[int, Field(ge=2, description="samples before the first score")] = 10

    _zone: tzinfo = field(init=False, repr=False)
    _entities: LazyEntityState = field(init=False, repr=False)
    _step: float = field(init=False, repr=False)  # seconds between samples; update() may get only one sample

    def __post_init__(self) -> None:
        self._zone, self._step = time_zone(self.time_zone), 60.0
        self._entities = LazyEntityState(_columns, per_channel="reference")

    def score(self, batch: Batch) -> Judgement:
        """Score the newest sample of each entity."""
        if len(batch.times) > 1:
            self._step = float(batch.times[-1] - batch.times[-2])
        rows = self._entities.view(batch)
        expected = self._expected(rows, self._hours(batch.times[-1], batch.weekday(-1)))
        newest, known = batch.values[:, :, -1], np.isfinite(expected.spread)
        with np.errstate(over="ignore", invalid="ignore"):
            value = newest - rows["reference"]
            low, high = expected.of_best(expected.low), expected.of_best(expected.high)
            half = self.deviations * expected.spread
            beyond = value - np.clip(value, low, high)
            ratio = np.minimum(np.abs(beyond) / half, LARGEST)  # no inf, NaN stays
            deviation = beyond / expected.spread
            middle = np.where(known, rows["reference"] + expected.of_best(expected.middle), np.nan)
            lower, upper = rows["reference"] + low - half, rows["reference"] + high + half
        score = np.fmax.reduce(ratio, axis=1, initial=np.nan)
        streams = of_deviation(score, deviation, by_hour=expected.best > 0)
        return Judgement(score, middle, lower, upper, _contribution(ratio), streams=streams)

    @property
    def _per_hour(self) -> float:
        return max(HOUR / self._step, 1.0)

    def _hours(self, time: float, weekday: int) -> tuple[SlotWeights, SlotWeights]:
        at = SeasonalTime.at(float(time), self._step, self._zone, weekday)
        return at.day, at.week

    def _expected(self, rows: Rows, hours: tuple[SlotWeights, SlotWeights]) -> _Expected:
        """Return the forecasts of the three predictors; `hours` are the slots of day and week around the time."""
        level = rows["level"].astype(np.float64)
        middle, low, high = [level], [level], [level]
        usable = [np.isfinite(rows["reference"])]
        for name, (before, after, share) in zip(("day", "week"), hours, strict=True):
            first = rows[name][:, :, before].astype(np.float64)
            second = rows[name][:, :, after].astype(np.float64)
            middle.append((1.0 - share) * first + share * second)
            low.append(np.minimum(first, second))
            high.append(np.maximum(first, second))
            visits = rows[f"{name}_visits"]
            least = np.minimum(visits[:, :, before], visits[:, :, after])
            usable.append(least >= VISITED * self._per_hour)
        best, miss, error = np.zeros(level.shape, np.intp), rows["miss"][..., 0], rows["error"][..., 0]
        for finer in (1, 2):
            old = usable[finer] & (rows["learnt"][..., finer] * self._step >= DAY)
            better = old & (rows["miss"][..., finer] <= WORSE * miss)
            best[better] = finer
            miss, error = (
                np.where(better, rows[name][..., finer], mean) for name, mean in (("miss", miss), ("error", error))
            )
        spread = np.maximum(MEAN_DEVIATION_TO_SIGMA * error.astype(np.float64), _floor(rows["reference"] + level))
        spread = np.where(rows["learnt"][..., 0] >= self.min_samples, spread, np.nan)
        return _Expected(
            np.stack(middle, axis=-1),
            np.stack(low, axis=-1),
            np.stack(high, axis=-1),
            np.stack(usable, axis=-1),
            best,
            spread,
        )

    def update(self, fresh: Batch, frozen: Flags, rebaselined: Flags) -> None:
        """Learn the samples of entities without an incident; rebaselined ones move to the level of the incident.

        During an incident only new hourly slots are learnt. Otherwise a nightly batch, or the first weekend, would open
        an incident every time and never become part of the profile.
        """
        self._entities.align(fresh)
        rows = self._entities.view(fresh)
        for sample, time in enumerate(fresh.times):
            self._learn(
                rows, fresh.values[:, :, sample], self._hours(time, fresh.weekday(sample)), frozen | rebaselined
            )
        self._rebaseline(rows, np.flatnonzero(rebaselined))

    def _learn(self, rows: Rows, values: Floats, hours: tuple[SlotWeights, SlotWeights], frozen: Flags) -> None:
        """Learn one sample of every entity and channel, shape (E, C), in place."""
        there = np.abs(values) < LARGEST  # not NaN
        learns = there & ~frozen[:, None]
        reference = rows["reference"]
        np.copyto(reference, values, where=there & np.isnan(reference))
        value = np.where(there, values, reference) - reference
        expected = self._expected(rows, hours)
        residual = value[..., None] - expected.middle
        floor, slowest = _floor(reference)[..., None], self._step / (self.spread_days * DAY)
        for mean, count, counts, factor in (
            ("miss", "compared", there, OUTLIER_MISS),
            ("error", "learnt", learns, OUTLIER),
        ):
            limit = self._limit(rows[mean], rows[count], factor, floor)
            size = np.minimum(np.abs(residual), limit)
            average(rows[mean], rows[count], expected.usable & counts[..., None], size, slowest)

        gain = np.maximum(1.0 / np.maximum(rows["learnt"][..., 0], 1.0), min(self._step / (self.level_days * DAY), 1.0))
        change = gain * np.clip(residual[..., 0], -limit[..., 0], limit[..., 0])
        rows["level"][...] += np.where(learns, change, 0.0)
        spans = (("day", FIRST_DAYS, self.profile_days), ("week", 1, self.profile_weeks))
        for number, ((name, first, most), near) in enumerate(zip(spans, hours, strict=True), 1):
            hour = near.before if near.share < 0.5 else near.after
            profile, visits = rows[name][:, :, hour], rows[f"{name}_visits"][:, :, hour]
            learn_hour(profile, visits, value, limit[..., number], there, learns, self._per_hour, first, most)

        for name in ("away", "away_error", "away_seen"):
            rows[name][~frozen] = 0.0
        distance = value - expected.of_best(expected.middle)
        around = np.where(rows["away_seen"] > 0, np.abs(distance - rows["away"]), 0.0)
        known, counted = there & frozen[:, None], rows["away_seen"].copy()
        average(rows["away_error"], counted, known, around, min(self._step / HOUR, 1.0))
        average(rows["away"], rows["away_seen"], known, distance, min(self._step / HOUR, 1.0))

    def _limit(self, mean: Singles, count: Singles, factor: float, floor: Floats) -> Floats:
        """Return the largest residual that is learnt, (E, C, P). A new predictor uses the limit of a coarser one."""
        limit: Floats = np.where(count < self.min_samples, np.inf, factor * np.maximum(mean, floor))
        for finer in (1, 2):
            limit[..., finer] = np.where(np.isinf(limit[..., finer]), limit[..., finer - 1], limit[..., finer])
        return limit

    def _rebaseline(self, rows: Rows, which: NDArray[np.intp]) -> None:
        """Make the level of the incident the normal one.

        The reference moves, and with it everything stored relative to it. The profile of a week that is not complete
        stays where it is: an incident that lasted a day may have been the first weekend.
        """
        away = rows["away"][which].astype(np.float64)
        incomplete = rows["learnt"][which][..., 2] * self._step < DAY
        rows["reference"][which] += away
        rows["week"][which] -= np.where(incomplete, away, 0.0)[..., None].astype(np.float32)
        rows["error"][which] = np.maximum(rows["error"][which], rows["away_error"][which][..., None])
        for name in ("away", "away_error", "away_seen"):
            rows[name][which] = 0.0

    def state(self) -> State:
        """Return profiles and residuals; empty before the first batch."""
        state = self._entities.state()
        return state and {**state, "step": np.array(self._step)}

    def restore(self, state: State) -> Self:
        """Load what `state()` returned; an empty one changes nothing. Raises ValueError when it does not fit."""
        if state:
            if "step" not in state:
                raise ValueError("the saved state holds no seasonal profiles")
            self._entities.restore(state)
            self._step = float(state["step"].astype(np.float64))
        return self


def _columns(channels: int) -> dict[str, Column]:
    small = {
        "level": (),
        "day": (24,),
        "day_visits": (24,),  # samples by their weight; 0: the slot has no value yet
        "week": (168,),
        "week_visits": (168,),
        "error": (3,),  # mean |residual| of level, day, week
        "learnt": (3,),  # samples behind it
        "miss": (3,),  # the same with incidents: it compares the predictors on recurring patterns too
        "compared": (3,),  # samples behind it
        "away": (),  # mean residual since the open incident began
        "away_error": (),
        "away_seen": (),
    }
    return {
        "reference": Column(np.nan, (channels,)),  # the first value; the float32 columns are relative to it
        **{name: Column(0.0, (channels, *shape), np.float32) for name, shape in small.items()},
    }


def _contribution(ratio: Floats) -> Floats:
    """Return each channel's share of the ratios (E, C): equal shares where all are 0, NaN where none is known."""
    known = np.isfinite(ratio)
    total = np.nansum(ratio, axis=1, keepdims=True)
    share = np.divide(
        np.where(known, ratio, 0.0), total, out=known / known.sum(axis=1, keepdims=True).clip(1), where=total > 0
    )
    return np.where(known.any(axis=1, keepdims=True), share, np.nan)


def _floor(value: Floats) -> Floats:
    """Return the smallest spread of a series around `value`, so that a constant series has a usable band."""
    return 1e-6 * np.abs(value) + 1e-12
