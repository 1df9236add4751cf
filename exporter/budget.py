"""Which incidents are worth a person's time: severity against the job's budget of alerts per week."""

import math
from typing import Final

import numpy as np

from detectors.roster import decode_keys, encode_keys
from detectors.types import Flags, Floats, Key, State

WEEK: Final = 604_800.0
KAPPA: Final = 2.4
"""Exponent of the power law between score and rate: twice the score is about a fifth of the incidents."""
PRIOR_WEEKS: Final = 2.0
"""Weight of the prior in weeks of the job's own history."""
MEMORY: Final = 4 * WEEK
"""Time constant with which the job's own incidents are forgotten."""
_TAIL_SEVERITY: Final = np.array([0.0, 3.3, 21.0, 51.0])
_TAIL_LOG10: Final = np.array([0.0, -1.0, -2.0, -3.0])
"""Share of incidents that open by chance and become at least this severe: measured on 1,120 clean series-weeks."""
_BINS: Final = np.geomspace(0.1, 10_000, 64)


def chance_share(severity: Floats) -> Floats:
    """Return the share of chance incidents at least this severe, log-linear between the measured points and beyond."""
    slope = (_TAIL_LOG10[-1] - _TAIL_LOG10[-2]) / (_TAIL_SEVERITY[-1] - _TAIL_SEVERITY[-2])
    inside = np.interp(severity, _TAIL_SEVERITY, _TAIL_LOG10)
    beyond = _TAIL_LOG10[-1] + slope * (severity - _TAIL_SEVERITY[-1])
    share: Floats = 10.0 ** np.where(severity > _TAIL_SEVERITY[-1], beyond, inside)
    return share


class Budget:
    """Decides which open incidents are alerts, so that their number does not grow with the number of entities.

    The expected number per week of incidents at least as severe is a posterior of the chance incidents of all entities
    (the prior, worth two weeks) and the job's own closed incidents; an incident becomes an alert when that rate falls
    to the budget, and stays one until it closes.

    Parameters
    ----------
    per_week : float
        Alerts per week for the whole job.
    line : float
        Incidents per week and entity that open by chance.
    """

    def __init__(self, per_week: float, line: float) -> None:
        self._per_week, self._line = per_week, line
        self._closed = np.zeros(len(_BINS) + 1)
        self._weeks = 0.0
        self._alerting: frozenset[Key] = frozenset()

    def state(self) -> State:
        """Return the history of closed incidents, and which open ones are alerts."""
        return {
            "closed": self._closed.copy(),
            "weeks": np.array(self._weeks),
            "alerting": encode_keys(tuple(sorted(self._alerting))),
        }

    def restore(self, state: State) -> None:
        """Take over what `state()` returned. Raises ValueError when it does not fit."""
        if state["closed"].shape != self._closed.shape:
            raise ValueError("the saved history of incidents has another shape")
        self._closed = state["closed"].astype(np.float64)
        self._weeks = float(state["weeks"].astype(np.float64))
        self._alerting = frozenset(decode_keys(state["alerting"]))

    def decide(self, keys: tuple[Key, ...], flag: Flags, severity: Floats, closed: Floats, elapsed: float) -> Flags:
        """Return alerts, shape (E,). `closed`: severities of incidents that just ended; `elapsed`: seconds."""
        decay = math.exp(-elapsed / MEMORY)
        self._weeks = self._weeks * decay + elapsed / WEEK
        self._closed *= decay
        np.add.at(self._closed, np.searchsorted(_BINS, closed), 1.0)
        alert = np.zeros(len(keys), np.bool_)
        rows = np.flatnonzero(flag)
        if len(rows):
            worse = np.cumsum(self._closed[::-1])[::-1][np.searchsorted(_BINS, severity[rows], side="right")]
            chance = len(keys) * self._line * chance_share(severity[rows])
            rate = (PRIOR_WEEKS * chance + worse) / (PRIOR_WEEKS + self._weeks)
            already = np.array([keys[row] in self._alerting for row in rows])  # open incidents only: few
            alert[rows] = (rate <= self._per_week) | already
        self._alerting = frozenset(keys[row] for row in np.flatnonzero(alert))
        return alert
