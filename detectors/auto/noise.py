"""Noise by hour of the day: how wide the residuals of a series are now, relative to the whole day.

Counts spread with the root of what is expected, and the noise of busy hours is wider for most other series too.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import Rows
from detectors.entity_state import Column
from detectors.seasonality import SeasonalTime
from detectors.types import Flags, Floats
from detectors.units import WEEK

_LEAST, _MOST = 0.25, 4.0
_PRIOR: Final = 12.0
"""Samples, or one visit if that is more, that what is usual is worth against the noise of an hour."""
_OF_NORMAL: Final = np.pi / 2
"""Mean square over squared mean size of normal noise."""
_VISITS: Final = 4.0
"""Visits over which the noise of an hour is averaged."""
_LARGEST: Final = 5.0
"""Times the usual size by which a residual counts at most."""
_READY: Final = 30
_HEAVIEST: Final = 12.0
_OFTEN, _RARE = 2.0, 4.0
"""Heaviness of Student's t with three degrees of freedom, and of a counter that is 0 in 96 of 100 samples."""
_SMALLEST: Final = 1e-150  # its square is no zero


def columns(rows: tuple[int, ...]) -> dict[str, Column]:
    """Return the state columns of an entity with series of shape `rows`."""
    return {
        "noise": Column(0.0, (*rows, 24), np.float32, outer=1),  # mean |residual| by hour
        "noise_visits": Column(0.0, (*rows, 24), np.float32, outer=1),  # samples, by their weight
        "noise_mean": Column(0.0, rows),  # mean |residual| of a week
        "noise_square": Column(0.0, rows),  # mean square of it
    }


def of_counts(rows: Rows, expected: Floats, known: Flags, heavier: Floats) -> Floats:
    """Return the noise at this time relative to that of the whole day, as counts have it, shape (R,): a half to two.

    It grows with the root of what is `expected`, shape (R,), where that is `known`. For noise in proportion to the
    value this is half-way. It is 1 for values that have been negative, and by and by where the noise is `heavier`,
    shape (R,): a visit does not show what to expect of what is rare.
    """
    zero = -rows["reference"]
    known = known & (rows["lowest"] >= zero) & (rows["mean"] > zero)
    with np.errstate(over="ignore"):
        share = (expected - zero) / np.where(known, rows["mean"] - zero, 1.0)
    root = np.sqrt(np.clip(share, _LEAST, _MOST), out=np.ones(len(share)), where=known)
    return np.asarray(1.0 + (root - 1.0) * np.clip((_RARE - heavier) / (_RARE - _OFTEN), 0.0, 1.0))


def spread(rows: Rows, at: SeasonalTime, heavier: Floats, usual: Floats) -> Floats:
    """Return the noise at this time relative to that of the whole day, shape (R,), from a quarter to four.

    `heavier`, shape (R,), is the `heaviness` of the rows, `usual`, shape (R,), what it is before the hour is known.
    """
    mean, prior = np.maximum(rows["noise_mean"], _SMALLEST), max(_PRIOR, at.per_hour) * heavier
    known = prior * usual

    def of(slot: int) -> Floats:
        visits = rows["noise_visits"][:, slot].astype(np.float64)
        relative: Floats = (visits * np.minimum(rows["noise"][:, slot] / mean, _MOST) + known) / (visits + prior)
        return relative

    share = at.day.share
    return np.clip((1 - share) * of(at.day.before) + share * of(at.day.after), _LEAST, _MOST)


def heaviness(rows: Rows) -> Floats:
    """Return the mean square of the noise over that of normal noise of the same mean size, 1 to 12, shape (R,).

    Where it is k, samples tell k times less than those of normal noise: Student's t with three degrees of freedom has
    about 2, a counter that is 0 in 98 of 100 samples more than 12.
    """
    mean = np.maximum(rows["noise_mean"], _SMALLEST)
    heavier: Floats = np.clip(rows["noise_square"] / mean**2 / _OF_NORMAL, 1.0, _HEAVIEST)
    return heavier


def learn(rows: Rows, residual: Floats, width: Floats, at: SeasonalTime, learn: Flags) -> None:
    """Learn the residuals (R,), in units of the noise `width` of this hour, where `learn`."""
    mean, count = rows["noise_mean"], rows["samples"]
    size = np.abs(residual) * width
    gain = np.where(learn, np.maximum(1.0 / np.maximum(count, 1.0), at.step / WEEK), 0.0)
    square = rows["noise_square"]
    square += gain * (size**2 - square)
    limited = (count > _READY) & (mean > 0)  # a series may stand still at first
    size = np.where(limited, np.minimum(size, _LARGEST * mean * width), size)
    mean += gain * (size - mean)
    most = max(_VISITS * at.per_hour, 20.0)
    for slot, weight in ((at.day.before, 1 - at.day.share), (at.day.after, at.day.share)):
        noise, visits = rows["noise"][:, slot], rows["noise_visits"][:, slot]
        new = np.minimum(visits + weight, most)
        noise += np.where(learn, weight / np.maximum(new, 1.0), 0.0) * (size - noise)
        visits[...] = np.where(learn, new, visits)


def restart(rows: Rows, which: NDArray[np.intp], mean: Floats, square: Floats) -> None:
    """Begin the noise of the rows `which` (N,) anew, for another forecast with residuals of this mean size and square.

    Of no hour it is known then.
    """
    rows["noise_visits"][which] = 0.0
    rows["noise_mean"][which], rows["noise_square"][which] = mean, square
