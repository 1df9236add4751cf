"""Which incidents are worth a person's time: severity against the job's budget of alerts per week."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import MEMORY
from detectors.entity_state import Column, EntityState
from detectors.types import Flags, Floats, Key, State
from detectors.units import WEEK
from exporter.config.sections.job import JobConfig

PRIOR_WEEKS: Final = 1.0
"""Weight of the prior in weeks of the job's own history."""
_TAIL_SEVERITY: Final = np.array([0.0, 2.5, 9.0, 24.0])
_TAIL_LOG10: Final = np.array([0.0, -1.0, -2.0, -3.0])
"""Share of incidents that open by chance and become at least this severe. On 4,000 clean series-weeks of one-minute
samples `auto` had 1.7, 6.1 and 16; half as much again is for series less well-behaved than those."""
_SAMPLE: Final = 1.6
"""What one sample adds to the severity of a chance incident, per minute of the step: the longer the step, the more."""
_EDGES: Final = np.geomspace(0.1, 10_000, 128)
"""Severities from which the bins of the history begin."""
_BELOW: Final = 4
"""Bins below a severity, up to 1.44 times as severe, that tell how many chance incidents to expect beyond it."""
_APART: Final = 50.0
"""Incidents set apart from the rest count once for so many: they are failures, until there are too many of them."""
_GROWN: Final = 1.5
"""Times the severity of its own alerts that make an entity's incident something new."""
SHOWN: Final = 500
"""Open incidents of which it is told what severity they need."""
_YOUNG: Final = WEEK
_YOUNG_SEVERITY: Final = 6.0
"""Times that chance incidents of an entity's first week are more severe than later: its first weekend begins as one."""


def chance_share(severity: Floats, step: float = 60.0) -> Floats:
    """Return the share of chance incidents at least this severe, log-linear between the measured points and beyond."""
    severity = severity - _SAMPLE * (step / 60.0 - 1.0)
    slope = (_TAIL_LOG10[-1] - _TAIL_LOG10[-2]) / (_TAIL_SEVERITY[-1] - _TAIL_SEVERITY[-2])
    inside = np.interp(severity, _TAIL_SEVERITY, _TAIL_LOG10)
    beyond = _TAIL_LOG10[-1] + slope * (severity - _TAIL_SEVERITY[-1])
    share: Floats = 10.0 ** np.where(severity > _TAIL_SEVERITY[-1], beyond, inside)
    return share


class AlertBudget:
    """Decides which open incidents are alerts, so that their number does not grow with the number of entities.

    An incident becomes an alert when the expected number per week of chance incidents at least as severe falls to the
    budget, and stays one until it closes. That number is a posterior of a prior, worth one week, and of the job's own
    closed incidents, per entity-week, so that it holds while entities come and go. Failures must not pass for chance,
    or one would hide the next: beyond a severity no more count in full than there are just below it, since chance
    fades out and failures stand apart. The alerts an entity has raised itself, but for one, count in full for it:
    what it does every night is not rare.

    Parameters
    ----------
    per_week : float
        Alerts per week for the whole job.
    false_alarms : float
        Incidents per week and entity that open by chance.
    """

    def __init__(self, per_week: float, false_alarms: float) -> None:
        self._per_week, self._false_alarms = per_week, false_alarms
        self._closed = np.zeros(len(_EDGES))
        self._entity_weeks = 0.0
        self._roster = EntityState(
            {
                "age": Column(0.0),
                "alerting": Column(False, (), np.bool_),
                "alerts": Column(0.0),  # closed ones
                "worst": Column(0.0),  # severity of them
            }
        )

    @classmethod
    def of(cls, job: JobConfig, replicas: int = 1) -> "AlertBudget":
        """Return the budget of a configured job, shared out among its replicas."""
        return cls(job.budget / replicas, job.false_alarms)

    def reconfigure(self, job: JobConfig, replicas: int = 1) -> None:
        """Decide by the settings of `job` from the next sample on; the history of incidents stays.

        An incident that is an alert stays one until it closes, but under a stricter budget it has to earn it again.
        """
        per_week, false_alarms = job.budget / replicas, job.false_alarms
        if per_week < self._per_week or false_alarms > self._false_alarms:
            self._roster["alerting"] = np.zeros(len(self._roster.keys), np.bool_)
        self._per_week, self._false_alarms = per_week, false_alarms

    def state(self) -> State:
        """Return the history of closed incidents, and which open ones are alerts."""
        counts = {"closed": self._closed.copy(), "entity_weeks": np.array(self._entity_weeks)}
        return {**counts, **self._roster.state()}

    def restore(self, state: State) -> None:
        """Take over what `state()` returned. Raises ValueError when it does not fit."""
        if state["closed"].shape != self._closed.shape:
            raise ValueError("the saved history of incidents has another shape")
        self._roster.restore(state)
        self._closed = state["closed"].astype(np.float64)
        self._entity_weeks = float(state["entity_weeks"].astype(np.float64))

    def decide(self, keys: tuple[Key, ...], flag: Flags, severity: Floats, closed: Floats, elapsed: float) -> Flags:
        """Return which entities' open incidents are alerts.

        Parameters
        ----------
        keys : tuple of Key, length E
        flag : Flags, shape (E,)
            Incidents that are open.
        severity, closed : Floats, shape (E,)
            Severity of the open incident, and of one that has just ended; 0 where there is none.
        elapsed : float
            Seconds since the last call, the job's step.
        """
        r = self._roster
        r.align(keys)
        r["age"] += elapsed
        scale = np.where(r["age"] < _YOUNG, 1 / _YOUNG_SEVERITY, 1.0)
        self._learn(closed * scale, len(keys), elapsed)
        alert = np.zeros(len(keys), np.bool_)
        rows = np.flatnonzero(flag)
        if len(rows):
            scaled = severity[rows] * scale[rows]
            again = np.where(scaled <= _GROWN * r["worst"][rows], self._repeated(rows), 0.0)
            alert[rows] = (self._rate(elapsed)[_bin(scaled)] + again <= self._per_week) | r["alerting"][rows]
        r["alerting"] = alert
        return alert

    def needed(self, rows: NDArray[np.int64], elapsed: float) -> Floats:
        """Return the severity from which an open incident would be an alert now, for entities of the last call.

        Parameters
        ----------
        rows : int64 array, shape (N,)
            Rows of the entities in the `keys` of the last `decide`.
        elapsed : float
            As for `decide`.

        Returns
        -------
        Floats, shape (N,)
            Infinite where no severity would be enough.
        """
        r, rate = self._roster, self._rate(elapsed)
        edges = np.append(np.concatenate([[0.0], _EDGES[1:]]), np.inf)  # the first bin holds all that is below it too

        def least(again: Floats) -> Floats:
            """Rates only fall: the number of those too high is the bin of the first that is not."""
            found: Floats = edges[(rate + again[:, None] > self._per_week).sum(axis=1)]
            return found

        first, repeated = least(np.zeros(len(rows))), least(self._repeated(rows))
        scaled = np.minimum(repeated, np.maximum(first, _GROWN * r["worst"][rows]))
        young: Floats = np.where(r["age"][rows] < _YOUNG, _YOUNG_SEVERITY, 1.0)
        return scaled * young

    def needed_by(self, flag: Flags, severity: Floats, elapsed: float) -> Floats | None:
        """Return `needed` for the open incidents, shape (E,); None where none is open.

        NaN where none is open, and beyond the SHOWN most severe: it is for people, and an outage shall cost no cycle.
        """
        rows = most_severe(flag, severity, SHOWN)
        if not len(rows):
            return None
        found: Floats = np.full(len(flag), np.nan)
        found[rows] = self.needed(rows, elapsed)
        return found

    def _repeated(self, rows: NDArray[np.int64]) -> Floats:
        """Return how many alerts a week the entities of these rows have raised themselves, but for one."""
        r = self._roster
        earlier: Floats = np.maximum(r["alerts"][rows] - 1.0, 0.0)
        return earlier / (PRIOR_WEEKS + self._entity_weeks / len(r.keys))

    def _learn(self, closed: Floats, entities: int, elapsed: float) -> None:
        r, decay = self._roster, math.exp(-elapsed / MEMORY)
        self._entity_weeks = self._entity_weeks * decay + entities * elapsed / WEEK
        self._closed *= decay
        r["alerts"] *= decay
        r["worst"] *= decay
        ended = np.flatnonzero(closed)
        np.add.at(self._closed, _bin(closed[ended]), 1.0)
        sent = ended[r["alerting"][ended]]
        r["alerts"][sent] += 1.0
        r["worst"][sent] = np.maximum(r["worst"][sent], closed[sent])

    def _rate(self, step: float) -> Floats:
        """Return how many chance incidents a week are as severe as each of `_EDGES`; the least on the way there."""
        entities = len(self._roster.keys)
        at_least = np.cumsum(self._closed[::-1])[::-1]
        just_below = np.concatenate([at_least[:1].repeat(_BELOW), at_least[:-_BELOW]]) - at_least
        faded = np.maximum(np.minimum(at_least, just_below), at_least / _APART)
        share = chance_share(_EDGES, step)
        chance = np.where(share > 0.5, at_least, faded)  # what most chance incidents reach tells no failure apart
        prior = PRIOR_WEEKS * entities
        rate = entities * (prior * self._false_alarms * share + chance) / (prior + self._entity_weeks)
        least: Floats = np.minimum.accumulate(rate)
        return least


def most_severe(flag: Flags, severity: Floats, most: int) -> NDArray[np.intp]:
    """Return the rows of the open incidents; of more than `most`, those of the most severe."""
    rows = np.flatnonzero(flag)
    if len(rows) > most:
        rows = rows[np.argpartition(-severity[rows], most)[:most]]
    return rows


def _bin(severity: Floats) -> NDArray[np.intp]:
    return np.maximum(np.searchsorted(_EDGES, severity, side="right") - 1, 0)
