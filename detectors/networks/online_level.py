"""Mean over a day and spread over a week of every series, learnt online, and where an open incident has taken it."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import Rows
from detectors.entity_state import Column
from detectors.types import Flags, Floats
from detectors.units import DAY, WEEK

WINSOR: Final = 50.0
"""Deviations beyond which a sample moves the level no further: one huge value shall not widen it for a week."""
_FIRST: Final = 20
"""Samples before that holds; the spread of fewer says little."""
_LARGEST: Final = 1e150
"""Larger values are not learnt: their square is no number."""
_USUAL: Final = 1.5
"""Deviations within which a value is one the series often has: it is back, wherever it was when the incident began."""
_BACK: Final = 0.5
"""Share of the first jump that a channel must come back by to be back."""


def columns(channels: int) -> dict[str, Column]:
    """Return the state columns of an entity."""
    return {
        "mean": Column(np.nan, (channels,)),
        "variance": Column(0.0, (channels,)),
        "samples": Column(0.0, (channels,)),
        "held": Column(False, (), np.bool_),
        "since": Column(np.nan),  # Unix seconds; the newest incident's, open or not
        "until": Column(np.nan),
        "before": Column(np.nan, (channels,)),  # what was expected when it began, NaN where the channel is not at fault
        "jump": Column(0.0, (channels,)),
    }


def known(rows: Rows, least: int) -> tuple[Floats, Floats]:
    """Return mean and spread, shape (E, C), NaN before `least` samples."""
    mean = np.where(rows["samples"] >= least, rows["mean"], np.nan)
    return mean, _spread(rows)


def _spread(rows: Rows) -> Floats:
    return np.fmax(np.sqrt(rows["variance"]), 1e-6 * np.abs(rows["mean"]) + 1e-12)  # a constant has a usable one too


def learn(rows: Rows, x: Floats, some: Flags, step: float, winsor: float = WINSOR) -> None:
    """Take in a sample of the series where `some`, both of shape (E, C)."""
    some = some & (np.abs(x) < _LARGEST)
    samples, mean, variance = rows["samples"], rows["mean"], rows["variance"]
    samples += some
    first = some & (samples == 1)
    mean[first] = x[first]
    away = np.where(some, x, 0.0) - np.where(some, mean, 0.0)
    limit = np.where(samples > _FIRST, winsor * _spread(rows), np.inf)
    away = np.clip(away, -limit, limit)
    young = 1.0 / np.maximum(samples, 1.0)
    variance += some * np.maximum(young, step / WEEK) * (away**2 - variance)
    mean += np.where(some, np.maximum(young, step / DAY) * away, 0.0)


def is_away(rows: Rows, x: Floats, times: Floats) -> Flags:
    """Return which samples (E, C, T) an incident has taken away from where the series was before it.

    A channel is back within half of the jump it began with, or near its mean: a rhythm goes on meanwhile, so that it
    does not come back to where it was. Else a network, which foretells the next sample from the last, takes the
    incident for normal as soon as it is all there is to see.
    """
    inside = (times >= rows["since"][:, None]) & (times <= np.where(rows["held"], np.inf, rows["until"])[:, None])
    with np.errstate(over="ignore", invalid="ignore"):
        far = np.abs(x - rows["before"][:, :, None]) > (_BACK * rows["jump"])[:, :, None]
        strange = np.abs(x - rows["mean"][:, :, None]) > (_USUAL * _spread(rows))[:, :, None]
    return np.asarray(inside[:, None, :] & far & strange)


def without(rows: Rows, x: Floats, away: Flags) -> Floats:
    """Return samples (E, C, T) without those that an incident took away, as if the series had not moved meanwhile.

    What follows takes their place, so that its rhythm, which went on, makes no jump; or else what was before.
    """
    if not away.any():
        return x
    size = x.shape[2]
    there = np.where(np.isfinite(x) & ~away, np.arange(size), size)
    following = np.minimum.accumulate(there[:, :, ::-1], axis=2)[:, :, ::-1]
    after = np.take_along_axis(x, np.minimum(following, size - 1), axis=2)
    return np.where(away, np.where(following < size, after, rows["before"][:, :, None]), x)


def note(rows: Rows, frozen: Flags, fault: Flags, expected: Floats, jump: Floats, time: float) -> NDArray[np.intp]:
    """Take note of incidents that begin and end at `time`; return those that end.

    `fault`, `expected` and `jump`, shape (E, C), say where a channel was expected and how far from there it is.
    """
    began, ended = frozen & ~rows["held"], rows["held"] & ~frozen
    rows["since"][began] = time
    rows["until"][ended] = time
    rows["before"][began] = np.where(fault, expected, np.nan)[began]
    rows["jump"][began] = jump[began]
    rows["held"][...] = frozen
    return np.flatnonzero(ended)


def rebaseline(rows: Rows, which: NDArray[np.intp], recent: Floats) -> None:
    """Make the mean of the recent samples (n, C, T) of the entities `which` their level."""
    there = np.isfinite(recent) & (np.abs(recent) < _LARGEST)
    count = there.sum(axis=2)
    mean = np.where(there, recent, 0.0).sum(axis=2) / np.maximum(count, 1)
    rows["mean"][which] = np.where(count > 0, mean, rows["mean"][which])
    rows["before"][which] = np.nan
    rows["held"][which] = False
