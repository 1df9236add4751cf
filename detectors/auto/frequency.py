"""Frequency: how many times a week an entity reaches evidence that should come seven times.

The components are calibrated one by one. How many of them speak at once differs from one kind of series to the next,
and shows at what comes every day. At what comes once a week or less failures are too large a share of what was seen,
and nothing follows it, except where series are so coarse that nearly all of them reach their line too seldom. The
scores of several channels follow what is usual, not the entity's own count: so they rank as before.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import KAPPA, MEMORY, Rows, score_of
from detectors.entity_state import Column
from detectors.seasonality import SeasonalTime
from detectors.types import Flags, Floats
from detectors.units import HOUR, MINUTE, WEEK

DAILY: Final = 7.0
"""Times a week at which the frequency is measured."""
_USUAL: Final = 12.0
"""Times a week that series of fifteen kinds reach what should come seven times, at steps of one and five minutes."""
_PRIOR: Final = 1.0
"""Weight of it, in weeks."""
_PENALISED: Final = 0.83
"""Share of these events that penalties for a short history leave."""
_LEAST, _MOST = 3.5, 49.0
"""Frequencies are limited to these: half, and the square. Below, what opens would not stay open."""
_STAYS: Final = 0.6**KAPPA
"""Share of the return period above which an event goes on."""
_APART: Final = 5 * MINUTE
"""Seconds between two events."""
_COARSE: Final = HOUR
"""Seconds between samples from which return periods are corrected: of three samples the largest seldom tells of a tail,
and the law of a new series makes what lies far out look commoner than it is."""
OF_CHANNELS: Final = math.log(28.0) / math.log(DAILY)
"""The power for `score` of entities with several channels: noise with wide tails and a common cause reaches what should
come seven times 28 times a week."""
_RAREST: Final = 3.0
"""Return periods are multiplied by this at most."""


def columns() -> dict[str, Column]:
    """Return the state columns of an entity."""
    small = np.float32
    return {
        "daily_count": Column(0.0, (), small, added=True),  # events
        "daily_weeks": Column(0.0, (), small, added=True),  # that they are from
        "daily_last": Column(-np.inf, added=True),  # when the last one was still there
    }


def exponent(rows: Rows, correction: Floats) -> Floats:
    """Return the power for `score`, shape (R,), of return periods that have been multiplied by `correction`."""
    found: Floats = np.log(np.clip(_seen(rows) * correction, _LEAST, _MOST)) / np.log(DAILY)
    return found


def score(rows: Rows, return_period: Floats, exponent: Floats | float) -> Floats:
    """Return the scores, shape (R,), of return periods in weeks.

    Between an event a week and seven the frequency is a power of the return period: that at which once a week comes
    once, and DAILY as often as it was seen to. While an incident is open its scores are not corrected: they say
    whether it goes on, not how often one begins.
    """
    plain = score_of(return_period)
    corrected = (plain < 1) & ~rows["held"]
    return np.asarray(np.power(plain, exponent, out=plain, where=corrected))


def correction(rows: Rows, which: NDArray[np.intp], step: float) -> Floats:
    """Return what the return periods of the rows `which` (N,) are to be multiplied by, at `step` seconds a sample.

    Where what should come seven times a week comes less often, by as much. A series that fails often keeps its line:
    failures are few among what comes every day.
    """
    if step < _COARSE:
        return np.ones(len(which))
    return np.asarray(np.clip(DAILY / _seen(rows)[which], 1.0, _RAREST))


def _seen(rows: Rows) -> Floats:
    """Return how many events a week there are before a correction, shape (R,)."""
    count, weeks = (rows[f"daily_{name}"].astype(np.float64) for name in ("count", "weeks"))
    seen: Floats = _PENALISED * (count + _PRIOR * _USUAL) / (weeks + _PRIOR)
    return seen


def learn(rows: Rows, return_period: Floats, correction: Floats, opens: Flags, at: SeasonalTime) -> None:
    """Count the events of a sample.

    Parameters
    ----------
    rows : Rows
        State arrays of R entities, with the incidents before the sample.
    return_period : Floats, shape (R,)
        In weeks, without penalties for a short history.
    correction : Floats, shape (R,)
        What it has been multiplied by. Events are counted without, so that the count does not follow itself.
    opens : Flags, shape (R,)
        Where an incident could open: no cool-down, no recurring pattern, and history enough.
    at : SeasonalTime
    """
    return_period = return_period / correction
    last, count, weeks = rows["daily_last"], rows["daily_count"], rows["daily_weeks"]
    counts = opens & ~rows["held"]
    kept = np.float32(np.exp(-at.step / MEMORY))
    weeks *= kept
    weeks += np.float32(at.step / WEEK) * counts
    count *= kept
    begins, goes_on = return_period > 1 / DAILY, at.time - last <= max(_APART, at.step)
    count += counts & begins & ~goes_on
    last[begins | (goes_on & (return_period > _STAYS / DAILY))] = at.time
