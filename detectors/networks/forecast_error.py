"""Forecast errors as multiples of the usual error: of one channel, of all channels, and of the last minutes."""

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
"""Multiple of the usual error from which a channel's part grows logarithmically: one must not hide the others."""
_RECENT: Final = 0.2
"""Weight of the newest error in the moving average of the recent ones."""
_WINSOR: Final = 5.0
"""Errors are clipped to this multiple of the usual error once `_FIRST` errors were learnt."""
_FIRST: Final = 20


def columns(channels: int) -> dict[str, Column]:
    """Return the state columns of an entity with this many channels."""
    return {
        "usual": Column(np.nan, (channels,)),  # mean size of the error over a week
        "judged": Column(0.0, (channels,)),
        "recent": Column(1.0),  # moving average of all channels, in usual errors
    }


def learn(rows: Rows, error: Floats, learns: Flags, step: float) -> None:
    """Update the usual error with the errors (E, C) where `learns`; `step` is the seconds between samples."""
    usual, count = rows["usual"], rows["judged"]
    count += learns
    limited = np.where(count > _FIRST, np.minimum(error, _WINSOR * usual), error)
    gain = np.maximum(1.0 / np.maximum(count, 1.0), step / WEEK)
    usual[...] = np.where(learns, np.where(count > 1, usual + gain * (limited - usual), error), usual)


def track_recent(rows: Rows, error: Floats, known: Flags, most: float, rebaselined: Flags) -> None:
    """Update the moving average of recent errors (E,), clipped at `most` so that it recovers soon after an incident."""
    recent = rows["recent"]
    recent += np.where(known, _RECENT * (np.minimum(error, most) - recent), 0.0)
    recent[rebaselined] = 1.0


def damped(ratio: Floats) -> Floats:
    """Return the ratios with logarithmic growth where they are large, in the same order; 0 where they are unknown."""
    ratio = np.where(np.isfinite(ratio), ratio, 0.0)
    return np.where(ratio > _LARGE, _LARGE * (1.0 + np.log(np.maximum(ratio, _LARGE) / _LARGE)), ratio)


def mean_error(ratio: Floats) -> Floats:
    """Return the mean (N,) of the errors (N, C) of the channels that have one."""
    count = np.isfinite(ratio).sum(axis=1)
    mean: Floats = np.divide(damped(ratio).sum(axis=1), count, out=np.full(len(ratio), np.nan), where=count > 0)
    return mean


def single_channel(mean: Floats, channels: NDArray[np.intp]) -> Floats:
    """Return the error (N,) of one channel at which the mean is this large and the others have their usual error."""
    total = mean * channels - (channels - 1)
    with np.errstate(over="ignore"):
        return np.where(total > _LARGE, _LARGE * np.exp(total / _LARGE - 1.0), np.maximum(total, 0.0))


def with_recent(error: Floats, recent: Floats) -> Floats:
    """Return the geometric mean of an error and of the moving average that includes it; any shape."""
    size: Floats = np.sqrt(error * (recent + _RECENT * (error - recent)))
    return size


def invert_with_recent(size: Floats, recent: Floats) -> Floats:
    """Return the error for which `with_recent` returns this size; any shape."""
    usual = (1 - _RECENT) * recent
    error: Floats = (np.sqrt(usual**2 + 4 * _RECENT * size**2) - usual) / (2 * _RECENT)
    return error


def quantile(values: Floats, share: float) -> float:
    """Return the quantile `share` of the finite values, NaN if there are none."""
    known = values[np.isfinite(values)]
    return float(np.quantile(known, share)) if len(known) else float("nan")
