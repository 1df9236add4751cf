"""The PromQL bands of `tests/bench/bands.py` over samples in memory; a test compares it with promtool."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from detectors import Flags, Floats
from detectors.units import HOUR
from exporter.config.values import duration
from tests.bench.bands import SPAN


@dataclass(frozen=True, eq=False)
class Band:
    """Of one channel, shape (N,) each."""

    lower: Floats
    middle: Floats
    upper: Floats

    def ratio(self, values: Floats) -> Floats:
        """Return the distance of `values` from the middle, in half widths of the band: above 1 they are outside."""
        half = np.where(values > self.middle, self.upper - self.middle, self.middle - self.lower)
        distance = np.abs(values - self.middle)
        with np.errstate(all="ignore"):
            return np.where(distance > 0, distance / np.maximum(half, 1e-300), 0.0)


def mean_sigma(values: Floats, step: float) -> Band:
    """Return the band of `MEAN_SIGMA`: the mean of an hour, two standard deviations of 26 hours, 5 % at least."""
    mean = _over(values, HOUR, step).mean()
    sigma = _over(values, duration(SPAN), step).std(ddof=0)
    return _band(mean, 2 * sigma)


def median_mad(values: Floats, step: float) -> Band:
    """Return the band of `MEDIAN_MAD`: the median of 26 hours, three times the third quartile's distance from it."""
    long = _over(values, duration(SPAN), step)
    median = long.median()
    return _band(median, 3 * (long.quantile(0.75) - median))


BANDS = {"mean_sigma": mean_sigma, "median_mad": median_mad}


def _over(values: Floats, seconds: float, step: float) -> "pd.api.typing.Rolling":
    """Return what a range selector covers: the samples later than `seconds` ago."""
    return pd.Series(values).rolling(max(round(seconds / step), 1), min_periods=1)


def _band(middle: "pd.Series[float]", half: "pd.Series[float]") -> Band:
    centre = middle.to_numpy()
    wide = half.to_numpy()
    # max of the band and 1.05 times the middle above, min of the band and 0.95 times the middle below
    return Band(np.minimum(centre - wide, 0.95 * centre), centre, np.maximum(centre + wide, 1.05 * centre))


def outside(values: Floats, step: float, name: str) -> tuple[Floats, Flags, Band]:
    """Return score and flag of an entity, shape (N,), from its channels, shape (C, N), and the band of the first."""
    bands = [BANDS[name](channel, step) for channel in values]
    ratios = np.array([band.ratio(channel) for band, channel in zip(bands, values, strict=True)])
    there = np.isfinite(ratios).any(axis=0)
    score = np.full(values.shape[1], np.nan)
    score[there] = np.nanmax(ratios[:, there], axis=0)
    return score, np.nan_to_num(score) > 1, bands[0]
