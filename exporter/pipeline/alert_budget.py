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
from exporter.pipeline.after_deploy import LASTING, Caution
from exporter.pipeline.chance import BINS, again_by, bin_of, chance_rate, least_severity, repeated, scale_at

SHOWN: Final = 500
"""Open incidents of which it is told what severity they need."""


class AlertBudget:
    """Decides which open incidents are alerts, so that their number does not grow with the number of entities.

    An incident becomes an alert when the expected number per week of chance incidents at least as severe falls to the
    budget, and stays one until it closes. That number is a posterior of a prior, worth one week, and of the job's own
    closed incidents, per entity-week, so that it holds while entities come and go. Failures must not pass for chance,
    or one would hide the next: beyond a severity no more count in full than there are just below it, since chance
    fades out and failures stand apart. The alerts an entity has raised itself, but for one, count in full for it:
    what it does every night is not rare.

    What many members of a group do at once has one cause, and the group's own alert: the more of them, the more severe
    an incident must be. Without that, series that swing together would now and then send a burst of alerts.

    An incident that opened in spite of the caution after a deploy is rarer by chance in just that measure. It is an
    alert once it has lasted longer than a good rollout is felt, LASTING.

    Parameters
    ----------
    per_week : float
        Alerts per week for the whole job.
    false_alarms : float
        Incidents per week and entity that open by chance.
    """

    def __init__(self, per_week: float, false_alarms: float) -> None:
        self._per_week, self._false_alarms = per_week, false_alarms
        self._closed = np.zeros(BINS)
        self._caution: Caution | None = None
        self._entity_weeks = 0.0
        self._roster = EntityState(
            {
                "age": Column(0.0),
                "alerting": Column(False, (), np.bool_),
                "alerts": Column(0.0),  # closed ones
                "worst": Column(0.0),  # severity of them
                "shared": Column(0.0, (), np.float32, added=True),  # largest share of the group that was open with it
                "muted": Column(False, (), np.bool_, added=True),  # open ones that a calendar lets be no alert
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

    def decide(
        self, keys: tuple[Key, ...], flag: Flags, severity: Floats, closed: Floats, elapsed: float,
        caution: Caution | None = None, muted: Flags | None = None, shared: Floats | None = None,
    ) -> Flags:  # fmt: skip
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
        caution : Caution or None
            Whose scores were lowered, so that severity is of those.
        muted : Flags, shape (E,), optional
            Open incidents that become no alert, by a calendar.
        shared : Floats, shape (E,), optional
            Share of the others of its group that are open too, where one is open; None without groups.
        """
        r, self._caution = self._roster, caution
        r.align(keys)
        r["age"] += elapsed
        if shared is not None:
            r["shared"] = np.where(flag, np.maximum(r["shared"], shared), r["shared"])
        scale = scale_at(r["age"], r["shared"])
        closed = np.where(r["muted"], 0.0, closed)  # what a maintenance window brings is not by chance
        r["muted"] = np.zeros(len(keys), np.bool_) if muted is None else muted & ~r["alerting"]
        self._learn(closed * scale, len(keys), elapsed)
        r["shared"] = np.where(flag, r["shared"], 0.0)
        alert = np.zeros(len(keys), np.bool_)
        rows = np.flatnonzero(flag)
        if len(rows):
            scaled = severity[rows] * scale[rows]
            again = again_by(scaled, r["worst"][rows], self._repeated(rows))
            rate = self._rate(elapsed)[bin_of(scaled)]
            rare = rate + again <= self._per_week
            if caution is not None:
                after = rate / caution.rarity + again <= self._per_week
                rare = np.where(caution.rows[rows], after & (severity[rows] >= LASTING), rare)
            alert[rows] = (rare | r["alerting"][rows]) & ~r["muted"][rows]
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
        scale = scale_at(r["age"][rows], r["shared"][rows])
        known = self._repeated(rows), r["worst"][rows], scale, self._per_week
        least = least_severity(rate, *known)
        if self._caution is not None:
            after = np.maximum(least_severity(rate / self._caution.rarity, *known), LASTING)
            least = np.where(self._caution.rows[rows], after, least)
        return least

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
        return repeated(r["alerts"][rows], self._entity_weeks, len(r.keys))

    def _learn(self, closed: Floats, entities: int, elapsed: float) -> None:
        r, decay = self._roster, math.exp(-elapsed / MEMORY)
        self._entity_weeks = self._entity_weeks * decay + entities * elapsed / WEEK
        self._closed *= decay
        r["alerts"] *= decay
        r["worst"] *= decay
        ended = np.flatnonzero(closed)
        np.add.at(self._closed, bin_of(closed[ended]), 1.0)
        sent = ended[r["alerting"][ended]]
        r["alerts"][sent] += 1.0
        r["worst"][sent] = np.maximum(r["worst"][sent], closed[sent])

    def _rate(self, step: float) -> Floats:
        return chance_rate(self._closed, self._entity_weeks, len(self._roster.keys), self._false_alarms, step)


def most_severe(flag: Flags, severity: Floats, most: int) -> NDArray[np.intp]:
    """Return the rows of the open incidents; of more than `most`, those of the most severe."""
    rows = np.flatnonzero(flag)
    if len(rows) > most:
        rows = rows[np.argpartition(-severity[rows], most)[:most]]
    return rows
