"""Component scores of the newest sample of a series, each 1 at the value a new series reaches about once a week."""

from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.auto import forecasts, novelty
from detectors.auto.forecasts import MEANS, PREDICTORS, READY, Forecasts, Residuals
from detectors.auto.novelty import Novelty
from detectors.calibration import Evidence, Rows
from detectors.entity_state import Column
from detectors.fitted_tails import FittedTailRates, Law
from detectors.seasonality import SeasonalTime
from detectors.types import Flags, Floats
from detectors.units import DAY, HOUR, WEEK

DEVIATIONS: Final = 6.0
"""Standard deviations that a new series reaches about once a week."""
VOLATILITY: Final = 4.0
"""The same for the logarithm of the change from sample to sample."""
FLOOR: Final = 0.05
"""Smallest deviation of a residual, as a share of the series' own standard deviation."""
_GOLDEN: Final = 0.618
"""Multiples of it lie evenly between whole numbers."""
_WEAK: Final = 0.05
"""Return period in weeks below which nobody asks for the side of the evidence: a score of a quarter."""
_LARGEST: Final = 1e17  # its square still fits the float32 of the state
_OWN: Final = 2  # components without a predictor: pair, volatility
_YOUTH: Final = 4.0
"""Short-history penalty of a residual, in days: after so many days of comparing, its rate counts twice."""
_GUESS: Final = 10.0
"""The same where the forecast is a guess: a first weekend."""
_ONCE: Final = 5.0
"""The same where the forecast is one day's value: the second day of a weekend."""
_SPARSE: Final = 6.0
"""Heaviness of the noise from which DEVIATIONS grow with it: two errors at once are many deviations of a rare error."""
TAILS: Final = FittedTailRates("stream_", _OWN + MEANS * PREDICTORS)
"""Pair and volatility, then for each predictor its residual and the means of it over 3, 10 and 30 minutes."""


def columns(rows: tuple[int, ...]) -> dict[str, Column]:
    """Return the state columns of an entity with series of shape `rows`."""
    return {
        "reference": Column(np.nan, rows),  # the first value; all others are stored relative to it
        "time": Column(np.nan, rows),
        "seen": Column(0.0, rows),  # samples
        "inherited": Column(0.0, rows),  # seconds of age inherited from peers
        "samples": Column(0.0, rows),  # samples learnt
        "lowest": Column(0.0, rows),
        "highest": Column(0.0, rows),
        "previous": Column(0.0, rows),
        "mean": Column(0.0, rows),
        "variance": Column(0.0, rows),
        "hour_mean": Column(0.0, rows),
        "recent": Column(0.0, (*rows, 2), outer=1),  # residuals of the last two samples
        "change_hour": Column(0.0, rows),  # mean |difference| over an hour
        "change_now": Column(0.0, rows),
        "change": Column(0.0, rows),  # logarithm of the above: mean and variance over a week
        "change_variance": Column(0.0, rows),
        **forecasts.columns(rows),
        **novelty.columns(rows),
        **TAILS.columns(rows),
    }


@dataclass(frozen=True, slots=True, eq=False)
class Observation:
    """Component scores and forecasts of one sample of R series; shape (R,) unless noted."""

    x: Floats
    previous: Floats
    sd: Floats
    residuals: Residuals
    novelty: Novelty
    change_hour: Floats
    change_now: Floats
    change: Floats
    normalised: Floats  # (R, components) of TAILS
    active: Flags  # (R, components)
    warm: Flags  # at least a day was seen
    evidence: Evidence
    correction: Floats  # what its return periods have been multiplied by
    span: Floats  # of the values so far
    scale: Floats  # of a single sample at this hour
    direction: Floats  # 1: all evidence lies above what is usual; -1: below
    expected: Floats
    lower: Floats
    upper: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What the evidence of R samples needs and what does not depend on them; shape (R,) unless noted."""

    torn: Flags  # a first sample, or one after a gap
    forecasts: Forecasts
    scales: Floats  # (R, 3, MEANS), of the means of the residual
    sparse: Floats  # what a heavy noise makes the scales wider by
    lowest: Floats  # of the last two residuals
    highest: Floats
    active: Flags  # (R, components)
    which: NDArray[np.intp]  # (R, _OWN + MEANS), the components that count
    penalty: Floats  # (R, _OWN + MEANS)
    law: Law  # (R, _OWN + MEANS)
    reach: Floats
    correction: Floats

    def taken(self, rows: NDArray[np.intp]) -> "Prepared":
        """Return a copy with some of the series."""
        found: Prepared = _taken(self, rows)
        return found


def _taken(found: Any, rows: NDArray[np.intp]) -> Any:
    """Return some rows of an array, or of all arrays of a data class."""
    if isinstance(found, np.ndarray):
        return found[rows]
    return replace(found, **{each.name: _taken(getattr(found, each.name), rows) for each in fields(found)})


def prepare(rows: Rows, at: SeasonalTime, frozen: Flags) -> Prepared:
    """Compute what is known of the samples at a time before they come. Learns nothing."""
    first = rows["seen"] == 0
    gap = np.where(first, at.step, at.time - rows["time"])
    torn = first | (gap > 2.5 * at.step)
    known = forecasts.forecast(rows, at, frozen, gap)
    best, count = known.selected, len(gap)
    sparse = np.maximum(known.heaviness / _SPARSE, 1.0)
    scales, used = forecasts.deviations(rows, at.step)
    recent = np.where(torn[:, None], 0.0, rows["recent"])

    compared = rows["compared"] >= READY
    compared[:, 0] &= rows["samples"] >= READY
    active = np.empty((count, TAILS.components), np.bool_, order="F")
    active[:, 0] = rows["seen"] >= max(100.0, DAY / at.step)
    active[:, 1] = rows["samples"] >= 2 * READY  # see learn()
    active[:, _OWN:] = (compared[:, :, None] & used).reshape(count, PREDICTORS * MEANS)

    which = _compared(best)
    penalty = _short_history_penalty(rows, best, at.step)
    penalty[:, _OWN:] += np.where(known.guessed, _GUESS, np.where(known.once, _ONCE, 0.0))[:, None]
    return Prepared(
        torn=torn,
        forecasts=known,
        scales=scales,
        sparse=sparse,
        lowest=recent.min(axis=1),
        highest=recent.max(axis=1),
        active=active,
        which=which,
        penalty=penalty,
        law=TAILS.law(rows, which),
        reach=TAILS.reach(rows, penalty[:, _OWN], _OWN + MEANS * best),
        correction=rows["stream_correction"].astype(np.float64),
    )


def observe(rows: Rows, raw: Floats, at: SeasonalTime, frozen: Flags, known: Prepared) -> Observation:
    """Compare the samples `raw` (R,) with the state of their series, of which much is `known`. Learns nothing."""
    reference = np.where(np.isnan(rows["reference"]), raw, rows["reference"])
    with np.errstate(over="ignore"):
        x = np.clip(raw - reference, -_LARGEST, _LARGEST)
    previous = np.where(known.torn, x, rows["previous"])
    lowest, highest = np.minimum(rows["lowest"], x), np.maximum(rows["highest"], x)
    eps = _smallest(reference, lowest, highest)
    sd = np.maximum(np.sqrt(rows["variance"]), eps)
    seen = forecasts.observe(known.forecasts, x)
    each, best = np.arange(len(x)), seen.selected
    scales = known.scales
    np.maximum(scales, (FLOOR * sd)[:, None, None], out=scales)
    scales *= known.sparse[:, None, None]
    scale = scales[each, best, 0] * seen.spread
    span = np.maximum(highest - lowest, eps)
    unseen = novelty.observe(rows, x, previous, span)

    # The median of the last three samples' residual.
    middle = np.asarray(np.clip(seen.residual[each, best], known.lowest, known.highest))
    hour, now, change, volatility = _volatility(rows, x, previous, at.step, scale, sd, frozen, middle * seen.spread)

    normalised = np.zeros((len(x), TAILS.components), order="F")
    normalised[:, 0] = np.where(unseen.pair > 1, unseen.pair / known.sparse, 0.0)
    normalised[:, 1] = volatility / VOLATILITY
    normalised[:, _OWN:] = _of_residuals(seen, scales, frozen, middle)
    normalised *= known.active

    compared = normalised.T.reshape(-1)[known.which.T * len(x) + each].T
    evidence = TAILS.evidence(rows, compared, known.penalty, known.which, known.law)
    allowed = known.reach * DEVIATIONS * scale
    return Observation(
        x=x,
        previous=previous,
        sd=sd,
        residuals=seen,
        novelty=unseen,
        change_hour=hour,
        change_now=now,
        change=change,
        normalised=normalised,
        active=known.active,
        warm=known.active[:, 0],
        evidence=evidence,
        correction=known.correction,
        span=span,
        scale=scale,
        direction=_direction(x, previous, seen, evidence.parts),
        expected=reference + seen.value[each, best],
        lower=reference + seen.low[each, best] - allowed,
        upper=reference + seen.high[each, best] + allowed,
    )


def _smallest(reference: Floats, lowest: Floats, highest: Floats) -> Floats:
    """Return a negligible deviation: a millionth of the range, or the size of rounding errors."""
    rounding = np.minimum(1e-10 * np.abs(reference), _LARGEST)
    return 1e-6 * np.maximum(np.abs(lowest), np.abs(highest)) + rounding + 1e-12


def _mean(known: Floats, value: Floats, gain: float, samples: Floats) -> Floats:
    mean: Floats = known + np.maximum(1.0 / (samples + 1), min(gain, 1.0)) * (value - known)
    return mean


def _volatility(
    rows: Rows,
    x: Floats,
    previous: Floats,
    step: float,
    scale: Floats,
    sd: Floats,
    frozen: Flags,
    middle: Floats,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return the mean |difference| over an hour and now, the logarithm of the former, and their distance from usual."""
    size = np.abs(x - previous)
    size = np.where(rows["samples"] >= READY, np.minimum(size, 8 * scale + sd), size)
    hour = _mean(rows["change_hour"], size, step / HOUR, rows["samples"])
    now = _mean(rows["change_now"], size, 1 / max(120.0 / step, 3.0), rows["samples"])
    long, short = np.log(hour + FLOOR * scale), np.log(now + FLOOR * scale)
    up, down = np.minimum(long, short) - rows["change"], rows["change"] - np.maximum(long, short)
    up = np.where(now > FLOOR * scale, up, 0.0)  # the floor grew, not the movement
    # The mean over an hour outlasts the incident, the last three samples do not.
    up = np.where(frozen & (np.abs(middle) < 0.25 * hour), 0.0, up)
    distance = np.maximum(np.maximum(up, down), 0.0) / (np.sqrt(rows["change_variance"]) + 0.1)
    return hour, now, long, distance


def _of_residuals(seen: Residuals, scales: Floats, frozen: Flags, middle: Floats) -> Floats:
    """Return the components of the three predictors, shape (R, 3 * MEANS), in units of DEVIATIONS.

    A mean is limited by the median of the last three samples (`middle`, (R,)) and counts only on its side; during an
    incident it does not count at all once they are back to half of it. Otherwise the alarm would outlast the incident.
    """
    size, last = np.abs(seen.means), middle[:, None, None]
    gated = seen.means * last
    gated = np.where(gated > 0, np.minimum(size, np.abs(last), out=gated), 0.0)
    if frozen.any():
        gated = np.where(frozen[:, None, None] & (np.abs(last) < 0.5 * size), 0.0, gated)
    gated[:, :, 0] = size[:, :, 0]
    gated /= scales
    gated /= DEVIATIONS
    normalised: Floats = gated.reshape(len(frozen), PREDICTORS * MEANS)
    return normalised


def of_best(normalised: Floats, best: NDArray[np.intp]) -> Floats:
    """Return the components of the predictor that is used, shape (R, MEANS), of all of them."""
    return np.take_along_axis(normalised, _of_predictor(best), axis=1)


def _compared(best: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the indices of the components that count, shape (R, _OWN + MEANS); in memory the rows lie side by side."""
    which = np.empty((_OWN + MEANS, len(best)), np.intp)
    which[:_OWN] = np.arange(_OWN)[:, None]
    which[_OWN:] = _of_predictor(best).T
    return which.T


def _of_predictor(best: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the indices of the components of a predictor, shape (R, MEANS)."""
    return np.asarray(_OWN + MEANS * best[:, None] + np.arange(MEANS))


def _direction(x: Floats, previous: Floats, seen: Residuals, parts: Floats | NDArray[np.float32]) -> Floats:
    """Return on which side of the usual the evidence lies, -1 to 1, shape (R,): the mean side of its `parts`, (R, N).

    Each component score has a side of its own. That of a pair is the side of both values: the first value after a drop
    is normal and the pair is not. That of the volatility is the side of the last minutes. NaN where there is too little
    evidence to matter.
    """
    total, found = parts.sum(axis=1), np.full(len(x), np.nan)
    each = np.flatnonzero(total > _WEAK)
    best, x = seen.selected[each], x[each]
    usual = seen.value[each, best]
    means = seen.means[each, best]
    sides = [x + previous[each] - 2 * usual, means[:, 1], *means.T]
    found[each] = (np.sign(np.stack(sides, axis=1)) * parts[each]).sum(axis=1) / total[each]
    return found


def _short_history_penalty(rows: Rows, best: NDArray[np.intp], step: float) -> Floats:
    """Return the share by which a short history raises the rate of each component, shape (R, _OWN + MEANS)."""
    days, inherited = step / DAY, rows["inherited"] / DAY
    compared = rows["compared"][np.arange(len(best)), best]
    penalty = np.empty((len(best), _OWN + MEANS), order="F")
    penalty[:, 0] = 5.0 / np.maximum(rows["seen"] * days, 0.5)  # new records come at a rate of 1/age
    penalty[:, 1] = 4.0 / np.maximum(rows["samples"] * days + inherited, 0.05)
    penalty[:, _OWN:] = (_YOUTH / np.maximum(compared * days + inherited, 0.05))[:, None]
    return penalty


def learn(
    rows: Rows, raw: Floats, seen: Observation, at: SeasonalTime, learn: Flags, recurring: Flags
) -> NDArray[np.intp]:
    """Learn the samples: seen values everywhere, the rest where `learn`. Return the rows whose hour is to be completed.

    A deviation that is `recurring` becomes part of the profile and is no noise: counted, a batch of every night would
    hide what is as large at any other hour. Nor is a guess that fails: a first weekend would hide it for weeks.
    """
    novelty.learn(rows, seen.x, seen.previous, seen.novelty, at.time)
    forecasts.learn(rows, seen.x, seen.residuals, at, learn, recurring, FLOOR * seen.sd)
    n = rows["samples"]
    n += learn
    for mean, variance, value, count in (
        ("mean", "variance", seen.x, n),
        ("change", "change_variance", seen.change, n - READY),  # earlier the mean over an hour is not full
    ):
        gain = np.where(learn & (count > 0), np.maximum(1.0 / np.maximum(count, 1.0), at.step / WEEK), 0.0)
        distance = value - rows[mean]
        rows[mean] += gain * distance
        rows[variance][...] = (1 - gain) * (rows[variance] + gain * distance**2)
    count = rows["seen"]
    third = np.flatnonzero(count == 2)
    if len(third):
        rows["stream_filled"][third] = -HOUR * _phase(seen.x[third], seen.previous[third])
    rows["hour_mean"][...] = _mean(rows["hour_mean"], seen.x, at.step / HOUR, count)
    count += 1
    rows["change_hour"][...], rows["change_now"][...] = seen.change_hour, seen.change_now
    each = np.arange(len(raw))
    rows["recent"][:, 0] = np.where(at.time - rows["time"] > 2.5 * at.step, 0.0, rows["recent"][:, 1])
    rows["recent"][:, 1] = seen.residuals.residual[each, seen.residuals.selected]
    rows["reference"][...] = np.where(np.isnan(rows["reference"]), raw, rows["reference"])
    rows["previous"][...], rows["time"][...] = seen.x, at.time
    rows["lowest"][...] = np.minimum(rows["lowest"], seen.x)
    rows["highest"][...] = np.maximum(rows["highest"], seen.x)
    expected = recurring | seen.residuals.guessed
    normalised = np.where(expected[:, None], 0.0, seen.normalised) if expected.any() else seen.normalised
    return TAILS.gather(rows, normalised, learn & ~expected, at.step)


def _phase(x: Floats, previous: Floats) -> Floats:
    """Return a share of an hour that depends on the shape of the first three samples alone, not on their unit.

    Hours that end at different times spread the work that is done once an hour over the cycles.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.nan_to_num((x - previous) / previous, posinf=0.0, neginf=0.0)
    share: Floats = np.modf(np.abs(ratio) * _GOLDEN)[0]
    return share


def close(rows: Rows, which: NDArray[np.intp], count: bool = True) -> None:
    """End the incidents of the rows `which`; each counts as one event if `count`."""
    TAILS.close(rows, which, count)
    forecasts.close(rows, which)
    rows["change_hour"][which] = rows["change_now"][which] = np.exp(rows["change"][which])


def rebaseline(rows: Rows, which: NDArray[np.intp], seen: Observation, at: SeasonalTime) -> None:
    """Make level and volatility of the last hour the normal ones of the rows `which`."""
    level = rows["hour_mean"][which]
    forecasts.rebaseline(rows, which, level, seen.residuals.spread[which], at)
    rows["inherited"][which] = 0.0
    rows["mean"][which] = level
    rows["change"][which] = seen.change[which]
