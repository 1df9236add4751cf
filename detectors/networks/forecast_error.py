"""Errors of a forecast as multiples of what is usual: of one channel, of all together, of the last minutes."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import Rows
from detectors.entity_state import Column
from detectors.types import Flags, Floats
from detectors.units import WEEK

MEDIAN_OF_NOISE: Final = 0.845
HIGH_OF_NOISE: Final = 2.06
"""Quantiles 0.5 and 0.9 of the size of normal noise, in units of its mean."""
_LARGE: Final = 30.0
"""Usual errors beyond which a channel's part grows as a logarithm: one alone shall not drown the others."""
_RECENT: Final = 0.2
"""Weight of the newest error in the moving average of the recent ones."""
_WINSOR: Final = 5.0
"""Usual errors that one error counts for at most, once `_FIRST` were learnt."""
_FIRST: Final = 20


def columns(channels: int) -> dict[str, Column]:
    """Return the state columns of an entity."""
    return {
        "usual": Column(np.nan, (channels,)),  # mean size of the error over a week
        "judged": Column(0.0, (channels,)),
        "recent": Column(1.0),  # moving average of all channels, in usual errors
    }


def learn(rows: Rows, error: Floats, some: Flags, step: float) -> None:
    """Take in the errors (E, C) where `some` as usual ones."""
    usual, judged = rows["usual"], rows["judged"]
    judged += some
    limited = np.where(judged > _FIRST, np.minimum(error, _WINSOR * usual), error)
    gain = np.maximum(1.0 / np.maximum(judged, 1.0), step / WEEK)
    usual[...] = np.where(some, np.where(judged > 1, usual + gain * (limited - usual), error), usual)


def follow(rows: Rows, error: Floats, known: Flags, most: float, rebaselined: Flags) -> None:
    """Move the average of the recent errors (E,), by `most` at most, lest the past of an incident outlast it."""
    recent = rows["recent"]
    recent += np.where(known, _RECENT * (np.minimum(error, most) - recent), 0.0)
    recent[rebaselined] = 1.0


def damped(ratio: Floats) -> Floats:
    """Return values that grow as a logarithm where they are large, in the same order; 0 where they are not known."""
    ratio = np.where(np.isfinite(ratio), ratio, 0.0)
    return np.where(ratio > _LARGE, _LARGE * (1.0 + np.log(np.maximum(ratio, _LARGE) / _LARGE)), ratio)


def together(ratio: Floats) -> Floats:
    """Return the mean (N,) of the errors (N, C) of the channels that have one."""
    count = np.isfinite(ratio).sum(axis=1)
    mean: Floats = np.divide(damped(ratio).sum(axis=1), count, out=np.full(len(ratio), np.nan), where=count > 0)
    return mean


def alone(mean: Floats, channels: NDArray[np.intp]) -> Floats:
    """Return the error (N,) of one channel that makes the mean this large when that of the others is the usual one."""
    total = mean * channels - (channels - 1)
    with np.errstate(over="ignore"):
        return np.where(total > _LARGE, _LARGE * np.exp(total / _LARGE - 1.0), np.maximum(total, 0.0))


def lasting(error: Floats, recent: Floats) -> Floats:
    """Return the geometric mean of an error and of the moving average that ends with it."""
    size: Floats = np.sqrt(error * (recent + _RECENT * (error - recent)))
    return size


def at_once(size: Floats, recent: Floats) -> Floats:
    """Return the error for which `lasting` is this large."""
    usual = (1 - _RECENT) * recent
    error: Floats = (np.sqrt(usual**2 + 4 * _RECENT * size**2) - usual) / (2 * _RECENT)
    return error


def quantile(values: Floats, share: float) -> float:
    """Return the quantile of the finite values, NaN where there are none."""
    known = values[np.isfinite(values)]
    return float(np.quantile(known, share)) if len(known) else float("nan")
