"""How rare an incident is for its job: the sums of the alert budget, for one time or for many at once."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.types import Floats
from detectors.units import WEEK

PRIOR_WEEKS: Final = 1.0
"""Weight of the prior in weeks of the job's own history."""
_TAIL_SEVERITY: Final = np.array([0.0, 2.5, 9.0, 24.0])
_TAIL_LOG10: Final = np.array([0.0, -1.0, -2.0, -3.0])
"""Share of incidents that open by chance and become at least this severe. On 4,000 clean series-weeks of one-minute
samples `auto` had 1.7, 6.1 and 16; half as much again is for series less well-behaved than those. Measured anew on ten
kinds of series it was 2.5, 14 and 33 at one minute and 4.3, 14 and 27 at five (`tests/fleet/severity.py`, seeds 80 and
81), with 0.8 and 0.5 alerts a week of a budget of one: larger constants would only delay the alerts of young jobs."""
_SAMPLE: Final = 1.6
"""What one sample adds to the severity of a chance incident, per minute of the step: the longer the step, the more."""
_EDGES: Final = np.geomspace(0.1, 10_000, 128)
"""Severities from which the bins of the history begin."""
BINS: Final = len(_EDGES)
_BELOW: Final = 4
"""Bins below a severity, up to 1.44 times as severe, that tell how many chance incidents to expect beyond it."""
_APART: Final = 50.0
"""Incidents set apart from the rest count once for so many: they are failures, until there are too many of them."""
_GROWN: Final = 1.5
"""Times the severity of its own alerts that make an entity's incident something new."""
_YOUNG: Final = WEEK
_YOUNG_SEVERITY: Final = 6.0
"""Times that chance incidents of an entity's first week are more severe than later: its first weekend begins as one."""
_SHARED: Final = 0.25
"""Share of the others of its group in trouble with which an incident must be twice as severe."""
_SHARED_SEVERITY: Final = 6.0
"""Times as severe that it must be at most, with 56 % of the others and more: what is worse is never silenced."""
_FEW: Final = 9.0
"""Others that a group counts as having at least: one more is little, also where there are only two."""


def chance_share(severity: Floats, step: float = 60.0) -> Floats:
    """Return the share of chance incidents at least this severe, log-linear between the measured points and beyond."""
    severity = severity - _SAMPLE * (step / 60.0 - 1.0)
    slope = (_TAIL_LOG10[-1] - _TAIL_LOG10[-2]) / (_TAIL_SEVERITY[-1] - _TAIL_SEVERITY[-2])
    inside = np.interp(severity, _TAIL_SEVERITY, _TAIL_LOG10)
    beyond = _TAIL_LOG10[-1] + slope * (severity - _TAIL_SEVERITY[-1])
    share: Floats = 10.0 ** np.where(severity > _TAIL_SEVERITY[-1], beyond, inside)
    return share


def chance_rate(
    closed: Floats, entity_weeks: float | Floats, entities: int | Floats, false_alarms: float, step: float
) -> Floats:
    """Return how many chance incidents a week are as severe as each of the `BINS`; the least on the way there.

    Parameters
    ----------
    closed : Floats, shape (..., BINS)
        History of closed incidents.
    entity_weeks, entities : float and int, or Floats of shape (..., 1)
        How long the history is, and how many entities there are.
    false_alarms, step : float
        As for `AlertBudget`; seconds between samples.
    """
    at_least = np.cumsum(closed[..., ::-1], axis=-1)[..., ::-1]
    just_below = np.concatenate([at_least[..., :1].repeat(_BELOW, -1), at_least[..., :-_BELOW]], axis=-1) - at_least
    faded = np.maximum(np.minimum(at_least, just_below), at_least / _APART)
    share = chance_share(_EDGES, step)
    chance = np.where(share > 0.5, at_least, faded)  # what most chance incidents reach tells no failure apart
    prior = PRIOR_WEEKS * entities
    rate = entities * (prior * false_alarms * share + chance) / (prior + entity_weeks)
    least: Floats = np.minimum.accumulate(rate, axis=-1)
    return least


def repeated(alerts: Floats, entity_weeks: float | Floats, entities: int | Floats) -> Floats:
    """Return how many alerts a week entities have raised themselves, but for one, of their closed `alerts`."""
    earlier: Floats = np.maximum(alerts - 1.0, 0.0)
    return earlier / (PRIOR_WEEKS + entity_weeks / entities)


def again_by(scaled: Floats, worst: Floats, repeated_: Floats) -> Floats:
    """Return what counts of `repeated` for an incident: nothing where it is more severe than those before."""
    again: Floats = np.where(scaled <= _GROWN * worst, repeated_, 0.0)
    return again


def share_in_trouble(opened: Floats, size: Floats) -> Floats:
    """Return the share of the others with an open incident, for a member with one in a group of `size` with `opened`.

    >>> share_in_trouble(np.array([1.0, 2.0, 11.0]), np.array([50.0, 2.0, 51.0])).round(2).tolist()
    [0.0, 0.11, 0.2]
    """
    share: Floats = (opened - 1.0) / np.maximum(size - 1.0, _FEW)
    return share


def scale_at(age: Floats, shared: Floats) -> Floats:
    """Return what severities are multiplied by, shape (N,).

    Incidents by chance are more severe where a series is new, and where it swings with others. Weighed for that, they
    are as many as elsewhere, and what one series has alone stands out.

    Parameters
    ----------
    age : Floats, shape (N,)
        Of entities, in seconds.
    shared : Floats, shape (N,)
        The largest `share_in_trouble` while the incident was open.
    """
    young = np.where(age < _YOUNG, _YOUNG_SEVERITY, 1.0)
    together = np.minimum(1.0 + (shared / _SHARED) ** 2, _SHARED_SEVERITY)
    scale: Floats = 1.0 / np.maximum(young, together)
    return scale


def least_severity(rate: Floats, repeated_: Floats, worst: Floats, scale: Floats, per_week: float) -> Floats:
    """Return the severity from which incidents are alerts, shape (N,); `rate` has the shape (BINS,) or (N, BINS).

    `scale` is that of `scale_at`.
    """
    edges = np.append(np.concatenate([[0.0], _EDGES[1:]]), np.inf)  # the first bin holds all that is below it too

    def least(again: Floats) -> Floats:
        """Rates only fall: the number of those too high is the bin of the first that is not."""
        found: Floats = edges[(rate + again[:, None] > per_week).sum(axis=1)]
        return found

    first, later = least(np.zeros(len(repeated_))), least(repeated_)
    needed: Floats = np.minimum(later, np.maximum(first, _GROWN * worst)) / scale
    return needed


def bin_of(severity: Floats) -> NDArray[np.intp]:
    """Return the bin of the history that a severity belongs to."""
    return np.maximum(np.searchsorted(_EDGES, severity, side="right") - 1, 0)
