"""Mean over a day and spread over a week of every series, learnt online, and its displacement by an incident."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import Rows
from detectors.entity_state import Column
from detectors.types import Flags, Floats
from detectors.units import DAY, WEEK

WINSOR: Final = 50.0
"""Deviations at which samples are clipped, so that one huge value does not widen the spread for a week."""
_FIRST: Final = 20
"""Number of samples before clipping begins; the spread of fewer is unreliable."""
_LARGEST: Final = 1e150
"""Larger values are not learnt: their square would overflow."""
_USUAL: Final = 1.5
"""Deviations from the mean within which a channel is back to normal, wherever the incident began."""
_BACK: Final = 0.5
"""Share of its first jump by which a channel must return to be back to normal."""


def columns(channels: int) -> dict[str, Column]:
    """Return the state columns of an entity with this many channels."""
    return {
        "mean": Column(np.nan, (channels,)),
        "variance": Column(0.0, (channels,)),
        "samples": Column(0.0, (channels,)),
        "held": Column(False, (), np.bool_),
        "since": Column(np.nan),  # Unix seconds; start of the newest incident, open or not
        "until": Column(np.nan),  # its end
        "before": Column(np.nan, (channels,)),  # forecast when it began, NaN where the channel is not at fault
        "jump": Column(0.0, (channels,)),  # distance from there at its first sample
    }


def known(rows: Rows, least: int) -> tuple[Floats, Floats]:
    """Return mean and spread, shape (E, C), NaN before `least` samples."""
    mean = np.where(rows["samples"] >= least, rows["mean"], np.nan)
    return mean, _spread(rows)


def _spread(rows: Rows) -> Floats:
    least = 1e-6 * np.abs(rows["mean"]) + 1e-12  # a constant series has a usable spread too
    return np.fmax(np.sqrt(rows["variance"]), least)


def learn(rows: Rows, x: Floats, learns: Flags, step: float, winsor: float = WINSOR) -> None:
    """Learn the samples `x` where `learns`, both of shape (E, C); `step` is the seconds between samples."""
    learns = learns & (np.abs(x) < _LARGEST)
    samples, mean, variance = rows["samples"], rows["mean"], rows["variance"]
    samples += learns
    first = learns & (samples == 1)
    mean[first] = x[first]
    away = np.where(learns, x, 0.0) - np.where(learns, mean, 0.0)
    limit = np.where(samples > _FIRST, winsor * _spread(rows), np.inf)
    away = np.clip(away, -limit, limit)
    plain_mean = 1.0 / np.maximum(samples, 1.0)
    variance += learns * np.maximum(plain_mean, step / WEEK) * (away**2 - variance)
    mean += np.where(learns, np.maximum(plain_mean, step / DAY) * away, 0.0)


def is_displaced(rows: Rows, x: Floats, times: Floats) -> Flags:
    """Return which samples (E, C, T) were displaced by the newest incident.

    A channel is back to normal once it has returned by half of its first jump, or is near its mean: with a daily rhythm
    it may not return to the value from before. Displaced samples must be known, because a network that forecasts from
    the last samples would take the incident for normal as soon as it fills the window.
    """
    inside = (times >= rows["since"][:, None]) & (times <= np.where(rows["held"], np.inf, rows["until"])[:, None])
    with np.errstate(over="ignore", invalid="ignore"):
        far = np.abs(x - rows["before"][:, :, None]) > (_BACK * rows["jump"])[:, :, None]
        strange = np.abs(x - rows["mean"][:, :, None]) > (_USUAL * _spread(rows))[:, :, None]
    return np.asarray(inside[:, None, :] & far & strange)


def mask_incident(rows: Rows, x: Floats, away: Flags) -> Floats:
    """Return samples (E, C, T) with the displaced ones, `away`, replaced as if there had been no incident.

    The next sample after them is used, so that there is no jump at the end of the incident. Without one it is the
    forecast from before.
    """
    if not away.any():
        return x
    size = x.shape[2]
    there = np.where(np.isfinite(x) & ~away, np.arange(size), size)
    following = np.minimum.accumulate(there[:, :, ::-1], axis=2)[:, :, ::-1]
    after = np.take_along_axis(x, np.minimum(following, size - 1), axis=2)
    return np.where(away, np.where(following < size, after, rows["before"][:, :, None]), x)


def record_incident(
    rows: Rows, frozen: Flags, fault: Flags, expected: Floats, jump: Floats, time: float
) -> NDArray[np.intp]:
    """Record the incidents that begin and end at `time` (Unix seconds); return the entities whose incident ends.

    `fault`, shape (E, C), marks the channels at fault; `expected` and `jump` are their forecast and distance from it.
    """
    began, ended = frozen & ~rows["held"], rows["held"] & ~frozen
    rows["since"][began] = time
    rows["until"][ended] = time
    rows["before"][began] = np.where(fault, expected, np.nan)[began]
    rows["jump"][began] = jump[began]
    rows["held"][...] = frozen
    return np.flatnonzero(ended)


def rebaseline(rows: Rows, which: NDArray[np.intp], recent: Floats) -> None:
    """Set the level of the entities `which` (n,) to the mean of their `recent` samples (n, C, T)."""
    there = np.isfinite(recent) & (np.abs(recent) < _LARGEST)
    count = there.sum(axis=2)
    mean = np.where(there, recent, 0.0).sum(axis=2) / np.maximum(count, 1)
    rows["mean"][which] = np.where(count > 0, mean, rows["mean"][which])
    rows["before"][which] = np.nan
    rows["held"][which] = False
