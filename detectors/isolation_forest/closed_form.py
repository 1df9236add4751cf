"""Path length of a value in an isolation forest of infinitely many trees, in closed form."""

from typing import Final

import numpy as np

from detectors.types import Floats

EULER_GAMMA: Final = 0.5772156649015329
_ROWS: Final = 512
"""Rows per block: their intermediate results stay in the processor's cache."""


_SMALLEST: Final = float(np.finfo(np.float64).tiny)
"""Divisor where a gap has no width: it counts nothing."""


def average_path(count: Floats) -> Floats:
    """Return c(n) of Liu, Ting & Zhou (2008): the mean path length of an unsuccessful search among `count` values.

    Examples
    --------
    >>> average_path(np.array([1.0, 2.0, 256.0])).round(2).tolist()
    [0.0, 1.0, 10.24]
    """
    n = np.maximum(count, 2.0)
    harmonic: Floats = np.where(count > 2, 2.0 * (np.log(n - 1.0) + EULER_GAMMA) - 2.0 * (n - 1.0) / n, 1.0)
    return np.where(count < 2, 0.0, harmonic)


def isolation_path(samples: Floats) -> Floats:
    """Return the expected path length of the last sample of each row among all samples of the row.

    In a one-dimensional isolation forest whose trees see all values and grow until each value is alone, a cut falls
    uniformly between the ends of the range that is left around the value. Take two neighbours a < b, both at or to the
    right of the value x: their gap is cut while x is still on its side with probability (b - a) / (b - x), and likewise
    to the left. The expected path length is the sum of these over all gaps, plus c(number of values equal to x).

    Parameters
    ----------
    samples : Floats, shape (E, T)
        The last one is evaluated, the others may be in any order; NaN is a missing sample.

    Returns
    -------
    path : Floats, shape (E,)
        From 1, the most isolated, to about 2 ln(T); NaN where the last is NaN or there are fewer than two others.
    """
    path = np.empty(len(samples))
    for first in range(0, len(samples), _ROWS):
        rows = slice(first, first + _ROWS)
        path[rows] = _path(np.sort(samples[rows], axis=1), samples[rows, -1:])
    return path


def _path(ordered: Floats, x: Floats) -> Floats:
    """Return the path length (E,) of `x`, shape (E, 1), in rows (E, T) sorted with NaN last."""
    place, x = np.ascontiguousarray(ordered.T), x[:, 0].copy()  # see rolling_baseline._whole
    low, high = place[:-1], place[1:]
    with np.errstate(over="ignore", invalid="ignore"):  # at 1e308 the whole range may overflow
        far = high - x
        cut = x - low
        np.maximum(far, cut, out=far)  # distance of the farther end of each gap
        np.subtract(high, low, out=cut)
        twice = far == 0  # both ends are x
        cut /= np.maximum(far, _SMALLEST, out=far)
    whole = not np.isnan(place[-1]).any()
    total: Floats = cut.sum(axis=0) if whole else np.nansum(cut, axis=0)
    if twice.any():
        equal = twice.sum(axis=0) + 1
        repeated = np.flatnonzero(equal > 1)
        total[repeated] += average_path(equal[repeated].astype(np.float64))
    if not whole:
        total[np.isfinite(place).sum(axis=0) < 3] = np.nan
    return np.where(np.isfinite(x), total, np.nan)
