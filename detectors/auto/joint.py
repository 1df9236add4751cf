"""Several channels of one entity judged together: two at once, a broken correlation, all of them restless."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import DAY, WEEK, Evidence, Rows, Tails
from detectors.clock import Tick
from detectors.roster import Column
from detectors.types import Flags, Floats

TAILS: Final = Tails("joint_", 3)
"""Of the second largest channel score, the Mahalanobis distance, the mean short-term deviation."""
_SCALES: Final = np.array([2.0, 2.5, 2.5])
_SHRINKAGE: Final = 0.1
_CLIP, _FAST_CLIP = 8.0, 30.0
_FAST, _FAST_DEVIATION = 1 / 20, 1 / 80


def columns(channels: int) -> dict[str, Column]:
    """Return the state columns of an entity."""
    square = (channels, channels)
    return {
        "fast": Column(0.0, (channels,)),
        "fast_deviation": Column(0.0, (channels,)),
        "covariance": Column(0.0, square, np.float32),
        "precision": Column(0.0, square, np.float32),  # inverse of the above, shrunk; refreshed every hour
        "joint_samples": Column(0.0),
        **TAILS.columns(),
    }


@dataclass(frozen=True, slots=True, eq=False)
class JointObservation:
    """What one sample of all channels says of R entities."""

    z: Floats  # (R, C)
    x: Floats  # (R, C)
    q: Floats  # (R, 3)
    evidence: Evidence


def observe(rows: Rows, scores: Floats, x: Floats, z: Floats, sd: Floats, step: float) -> JointObservation:
    """Combine the channels. Learns nothing.

    Parameters
    ----------
    scores, x, z, sd : Floats, shape (R, C)
        Score, value, standardised value and standard deviation of each channel; NaN where a sample is missing.
    """
    z = np.clip(np.nan_to_num(z), -_CLIP, _CLIP)
    known = np.nan_to_num(scores)
    distance = np.einsum("ec,ecd,ed->e", z, rows["precision"], z, optimize=True) / z.shape[1]
    with np.errstate(invalid="ignore"):
        fast = np.abs(x - rows["fast"]) / (rows["fast_deviation"] + 0.1 * sd)
    restless = np.minimum(np.nan_to_num(fast), _FAST_CLIP).mean(axis=1)
    second = np.partition(known, -2, axis=1)[:, -2]
    q = np.stack([second, np.sqrt(np.maximum(distance, 0.0)), restless], axis=1) / _SCALES
    days = rows["joint_samples"] * step / DAY
    youth = np.repeat((4.0 / np.maximum(days, 0.05))[:, None], 3, axis=1)
    return JointObservation(z, x, q, TAILS.evidence(rows, q, youth))


def learn(rows: Rows, seen: JointObservation, tick: Tick, learn: Flags, ready: Flags) -> NDArray[np.intp]:
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
    gain = np.where(learn, np.maximum(first[:, 0], tick.step / WEEK), 0.0).astype(np.float32)[:, None, None]
    z = seen.z.astype(np.float32)
    rows["covariance"] += gain * (z[:, :, None] * z[:, None, :] - rows["covariance"])
    active = np.repeat(ready[:, None], 3, axis=1)
    due = TAILS.learn(rows, seen.q * active, learn, active, tick.step)
    if len(due):
        shrunk = (1 - _SHRINKAGE) * rows["covariance"][due].astype(np.float64)
        shrunk += _SHRINKAGE * np.eye(shrunk.shape[1])
        rows["precision"][due] = np.linalg.inv(shrunk)
    return due
