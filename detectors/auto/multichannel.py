"""Several channels of one entity judged together: two at once, a broken correlation, all of them restless."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.auto.correlation import Correlation, clipped
from detectors.calibration import Evidence, Rows, TailRates, score_of
from detectors.entity_state import Column
from detectors.seasonality import SeasonalTime
from detectors.types import Flags, Floats
from detectors.units import DAY, WEEK

TAILS: Final = TailRates("joint_", 4)
"""Of the second largest channel, two Mahalanobis distances (residuals, short-term deviations), and restlessness."""
_SCALES: Final = ((0.87, 0.33), (8.0, -0.25), (8.0, -0.25), (7.0, -0.3))
"""What clean noise of C channels reaches about once a week: factor and power of C."""
_OWN_SHARE: Final = (1.0, 1.0, 1.0, 0.3)
"""Weight of an entity's own history against the law alone, in its rate's logarithm. What shakes all channels at once,
measured against its last samples, is no noise however often it comes: restlessness learns little from history."""
_RESIDUAL: Final = Correlation("residual_")
_SHORT: Final = Correlation("short_")
_MOST: Final = 100.0
_FAST, _FAST_DEVIATION = 1 / 20, 1 / 80


def columns(channels: int) -> dict[str, Column]:
    """Return the state columns of an entity."""
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
    """What one sample of all channels says of R entities."""

    x: Floats  # (R, C)
    residual: Floats  # (R, C)
    short: Floats  # (R, C)
    q: Floats  # (R, streams)
    evidence: Evidence
    contribution: Floats  # (R, C), sums to the evidence


def observe(rows: Rows, weeks: Floats, x: Floats, residual: Floats, sd: Floats, step: float) -> JointObservation:
    """Combine the channels. Learns nothing.

    Parameters
    ----------
    weeks, x, residual, sd : Floats, shape (R, C)
        Evidence, value, residual in its usual deviations, standard deviation of each channel; NaN where a sample is
        missing.
    """
    channels = x.shape[1]
    known = np.nan_to_num(weeks)
    with np.errstate(invalid="ignore"):
        short = np.nan_to_num((x - rows["fast"]) / (rows["fast_deviation"] + 0.1 * sd))
    restless = np.sqrt(np.minimum(np.abs(short), _MOST))
    residual, short = clipped(residual), clipped(short)
    missing = np.isnan(x)
    broken, by_residual = _RESIDUAL.distance(rows, residual, missing)
    torn, by_short = _SHORT.distance(rows, short, missing)
    second = score_of(np.partition(known, -2, axis=1)[:, -2])
    q = np.stack([second, broken, torn, restless.mean(axis=1) ** 2], axis=1)
    q /= [factor * channels**power for factor, power in _SCALES]
    evidence, each = _evidence(rows, q, 4.0 / np.maximum(rows["joint_samples"] * step / DAY, 0.05))
    shares = np.stack([known, by_residual, by_short, restless], axis=2)
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1e-300)
    contribution = np.einsum("ecs,es->ec", shares, each)
    return JointObservation(x, residual, short, q, evidence, contribution)


def _evidence(rows: Rows, q: Floats, youth: Floats) -> tuple[Evidence, Floats]:
    """Return what the streams say together, and each by itself, shape (R, streams), in weeks."""
    total, each = Evidence(*np.zeros((3, len(q)))), np.empty_like(q)
    for stream, share in enumerate(_OWN_SHARE):
        of_one = q[:, stream, None]
        own = TAILS.evidence(rows, of_one, youth[:, None], np.full(of_one.shape, stream))
        each[:, stream] = own.weeks**share * (own.power / (1 + youth)) ** (1 - share)
        plain = own.plain**share * own.power ** (1 - share)
        total = Evidence(total.weeks + each[:, stream], total.plain + plain, total.power + own.power)
    return total, each


def learn(rows: Rows, seen: JointObservation, tick: SeasonalTime, learn: Flags, ready: Flags) -> NDArray[np.intp]:
    """Learn the sample where `learn`; returns the rows whose hour is complete."""
    n = rows["joint_samples"]
    n += learn
    there = learn[:, None] & np.isfinite(seen.x)
    with np.errstate(invalid="ignore"):
        distance = np.where(there, seen.x - rows["fast"], 0.0)
    first = 1.0 / np.maximum(n, 1.0)[:, None]
    deviation = rows["fast_deviation"]
    deviation += np.where(there, np.maximum(first, _FAST_DEVIATION) * (np.abs(distance) - deviation), 0.0)
    rows["fast"] += np.maximum(first, _FAST) * distance
    gain = np.where(learn, np.maximum(first[:, 0], tick.step / WEEK), 0.0)
    _RESIDUAL.learn(rows, seen.residual, gain)
    _SHORT.learn(rows, seen.short, gain)
    active = np.repeat(ready[:, None], TAILS.streams, axis=1)
    due = TAILS.learn(rows, seen.q * active, learn, active, tick.step)
    if len(due):
        _RESIDUAL.refresh(rows, due)
        _SHORT.refresh(rows, due)
    return due
