"""Component scores of several channels together: two at once, a broken correlation, volatility of all."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.auto.correlation import Correlation, clipped
from detectors.calibration import Evidence, Rows, score_of
from detectors.entity_state import Column
from detectors.fitted_tails import FittedTailRates
from detectors.seasonality import SeasonalTime
from detectors.types import Flags, Floats
from detectors.units import DAY, WEEK

TAILS: Final = FittedTailRates("joint_", 4)
"""Second largest channel, two Mahalanobis distances (residuals, short-term deviations), and joint volatility."""
_SCALES: Final = ((0.87, 0.33), (8.0, -0.25), (8.0, -0.25), (7.0, -0.3))
"""Value that clean noise of C channels reaches about once a week: factor and power of C."""
_OWN_SHARE: Final = (1.0, 1.0, 1.0, 0.3)
"""Weight of an entity's own history against the prior law alone, in the logarithm of the rate. A burst in all channels
at once is not noise, however often it comes, so joint volatility adapts slowly."""
_RESIDUAL: Final = Correlation("residual_")
_SHORT: Final = Correlation("short_")
_MOST: Final = 100.0
_FAST, _FAST_DEVIATION = 1 / 20, 1 / 80


def columns(channels: int) -> dict[str, Column]:
    """Return the state columns of an entity with this many channels."""
    return {
        "fast": Column(0.0, (channels,)),
        "fast_deviation": Column(0.0, (channels,)),
        "joint_samples": Column(0.0),
        **_RESIDUAL.columns(channels),
        **_SHORT.columns(channels),
        **TAILS.columns(),
    }


@dataclass(frozen=True, slots=True, eq=False)
class JointObservation:
    """Component scores of one sample of all channels, for R entities."""

    x: Floats  # (R, C)
    residual: Floats  # (R, C)
    short: Floats  # (R, C)
    normalised: Floats  # (R, components)
    evidence: Evidence
    contribution: Floats  # (R, C), sums to the return period


def observe(
    rows: Rows, return_period: Floats, x: Floats, residual: Floats, sd: Floats, step: float
) -> JointObservation:
    """Combine the channels of R entities. Learns nothing.

    Parameters
    ----------
    rows : Rows
        State arrays of the entities.
    return_period, x, residual, sd : Floats, shape (R, C)
        Return period in weeks, value, residual in units of its usual deviation, and standard deviation of each channel;
        NaN where a sample is missing.
    step : float
        Seconds between samples.
    """
    channels = x.shape[1]
    known = np.nan_to_num(return_period)
    with np.errstate(invalid="ignore"):
        short = np.nan_to_num((x - rows["fast"]) / (rows["fast_deviation"] + 0.1 * sd))
    volatility = np.sqrt(np.minimum(np.abs(short), _MOST))
    residual, short = clipped(residual), clipped(short)
    missing = np.isnan(x)
    residual_distance, by_residual = _RESIDUAL.distance(rows, residual, missing)
    short_distance, by_short = _SHORT.distance(rows, short, missing)
    second = score_of(np.partition(known, -2, axis=1)[:, -2])
    normalised = np.stack([second, residual_distance, short_distance, volatility.mean(axis=1) ** 2], axis=1)
    normalised /= _scales(channels)
    evidence = _evidence(rows, normalised, 4.0 / np.maximum(rows["joint_samples"] * step / DAY, 0.05))
    shares = np.stack([known, by_residual, by_short, volatility], axis=2)
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-300)
    contribution = np.einsum("ecs,es->ec", shares, evidence.parts)
    return JointObservation(x, residual, short, normalised, evidence, contribution)


def _evidence(rows: Rows, normalised: Floats, penalty: Floats) -> Evidence:
    """Return the return periods of all components together, and of each alone as `parts`, (R, components), in weeks."""
    total, each = Evidence(*np.zeros((3, len(normalised)))), np.empty_like(normalised)
    for component, share in enumerate(_OWN_SHARE):
        of_one = normalised[:, component, None]
        own = TAILS.evidence(rows, of_one, penalty[:, None], np.full(of_one.shape, component))
        each[:, component] = own.return_period**share * (own.prior / (1 + penalty)) ** (1 - share)
        plain = own.unpenalised**share * own.prior ** (1 - share)
        total = Evidence(total.return_period + each[:, component], total.unpenalised + plain, total.prior + own.prior)
    return replace(total, parts=each)


def _scales(channels: int) -> list[float]:
    return [factor * channels**power for factor, power in _SCALES]


def sizes(normalised: Floats, channels: int) -> Floats:
    """Return component scores (R, components) in standard deviations."""
    found: Floats = normalised * _scales(channels)
    return found


def learn(rows: Rows, seen: JointObservation, at: SeasonalTime, learn: Flags, ready: Flags) -> NDArray[np.intp]:
    """Learn the sample where `learn`; return the indices of entities whose hour is complete."""
    n = rows["joint_samples"]
    n += learn
    there = learn[:, None] & np.isfinite(seen.x)
    with np.errstate(invalid="ignore"):
        distance = np.where(there, seen.x - rows["fast"], 0.0)
    first = 1.0 / np.maximum(n, 1.0)[:, None]
    deviation = rows["fast_deviation"]
    deviation += np.where(there, np.maximum(first, _FAST_DEVIATION) * (np.abs(distance) - deviation), 0.0)
    rows["fast"] += np.maximum(first, _FAST) * distance
    gain = np.where(learn, np.maximum(first[:, 0], at.step / WEEK), 0.0)
    _RESIDUAL.learn(rows, seen.residual, gain)
    _SHORT.learn(rows, seen.short, gain)
    active = np.repeat(ready[:, None], TAILS.components, axis=1)
    due = TAILS.learn(rows, seen.normalised * active, learn, active, at.step)
    if len(due):
        _RESIDUAL.refresh(rows, due)
        _SHORT.refresh(rows, due)
    return due
