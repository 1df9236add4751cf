"""The incidents of a replay one by one: when each began and ended, and whether it would have been an alert."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from detectors.types import Key
from exporter.config.sections.job import JobConfig
from exporter.pipeline.alert_budget import AlertBudget
from exporter.pipeline.evidence import Stream, told
from exporter.pipeline.verdict import Verdict

NEVER: Final = math.nan
"""In place of a time that never came."""


@dataclass(slots=True)
class PastIncident:
    """An incident of the past. Times are Unix seconds.

    Parameters
    ----------
    job, key
        The job, and the entity's labels.
    start : float
        As the live exporter tells it, also where that is before the time range.
    end : float
        Of the verdict that closed it; of the newest verdict while `still_open`.
    still_open : bool
        Whether it was open at the end of the time range.
    severity : float
        The highest.
    needed : float
        Severity that would have made it an alert when it was last open without being one; NaN where it was one all
        along, infinite where none would have.
    held_since : float
        Since when what the alert of the job looks at was there without a break; NEVER for an incident that is none.
    fired : float
        When the alert fired: `for` later. NEVER where it did not.
    streams : list of Stream
        What the score of its worst reading is made of, the strongest first.
    worst : float
        When that reading was.
    """

    job: str
    key: Key
    start: float
    end: float
    still_open: bool = True
    severity: float = 0.0
    needed: float = math.nan
    held_since: float = NEVER
    fired: float = NEVER
    streams: list[Stream] = field(default_factory=list)
    worst: float = NEVER

    @property
    def seconds(self) -> float:
        """Duration so far."""
        return self.end - self.start

    @property
    def alerted(self) -> bool:
        """Whether the alert of the job fired."""
        return not math.isnan(self.fired)


@dataclass(slots=True)
class PastIncidents:
    """Collects the incidents of one job from its verdicts, in the order they come.

    Parameters
    ----------
    job, config
        Name and settings of the job.
    """

    job: str
    config: JobConfig
    found: list[PastIncident] = field(default_factory=list)
    """In the order in which they were seen."""
    entities: set[Key] = field(default_factory=set)
    first: float = math.nan
    """Time of the first verdict; NaN before there is one."""
    last: float = math.nan
    present: int = 0
    """Samples, of all entities."""
    judged: int = 0
    """Samples with a score."""
    verdicts: int = 0
    scored_verdicts: int = 0
    """Verdicts with at least one score: the others are of times of which nothing is known."""
    unscored: set[Key] = field(default_factory=set)
    """Entities that never had a score."""
    _open: dict[Key, PastIncident] = field(default_factory=dict)
    _keys: tuple[Key, ...] = ()

    @classmethod
    def joined(cls, job: str, config: JobConfig, parts: Sequence["PastIncidents"]) -> "PastIncidents":
        """Return those of all `parts` of a job, each of other entities over the same time range."""
        known = [part for part in parts if part.verdicts]
        if len(known) < 2:
            return known[0] if known else cls(job, config)
        return cls(
            job,
            config,
            sorted((each for part in known for each in part.found), key=lambda each: each.start),
            set().union(*(part.entities for part in known)),
            min(part.first for part in known),
            max(part.last for part in known),
            sum(part.present for part in known),
            sum(part.judged for part in known),
            max(part.verdicts for part in known),
            max(part.scored_verdicts for part in known),
            set().union(*(part.unscored for part in known)),
        )

    def add(self, verdict: Verdict, budget: AlertBudget) -> None:
        """Take the next verdict, and the budget that has just decided on it."""
        if math.isnan(self.first):
            self.first = verdict.time
        self.last = verdict.time
        scored = np.isfinite(verdict.score)
        if verdict.keys is not self._keys:
            self._keys = verdict.keys
            self.unscored.update(set(verdict.keys) - self.entities)
            self.entities.update(verdict.keys)
        if self.unscored:
            self.unscored.difference_update(verdict.keys[row] for row in np.flatnonzero(scored).tolist())
        self.present += int(np.isfinite(verdict.values).any(axis=1).sum())
        self.judged += int(scored.sum())
        self.verdicts += 1
        self.scored_verdicts += bool(scored.any())
        rows = np.flatnonzero(verdict.flag)
        open_before, self._open = self._open, {}
        if len(rows):
            alert = verdict.flag if self.config.alerting_metric == "flag" else verdict.alert
            needed = budget.needed(rows, self.config.step)
            for row, severity in zip(rows.tolist(), needed.tolist(), strict=True):
                self._see(verdict, row, bool(alert[row]), severity, open_before)
        for incident in open_before.values():  # what is open is no longer in there
            incident.end, incident.still_open = verdict.time, False

    def _see(
        self, verdict: Verdict, row: int, alert: bool, needed: float, open_before: dict[Key, PastIncident]
    ) -> None:
        key, since, now = verdict.keys[row], float(verdict.since[row]), verdict.time
        incident = open_before.get(key)
        if incident is None or incident.start != since:
            incident = PastIncident(self.job, key, since, now)
            self.found.append(incident)
        else:
            del open_before[key]
        self._open[key] = incident
        incident.end = now
        incident.severity = max(incident.severity, float(verdict.severity[row]))
        position = verdict.readings.of(row)
        if position is not None and (at := float(verdict.readings.at[position])) != incident.worst:
            told_of = told(verdict.readings.streams, row, verdict.channels, key, self.config.units)
            incident.worst, incident.streams = at, told_of
        if not alert:
            incident.needed, incident.held_since = needed, NEVER
            return
        if math.isnan(incident.held_since):
            incident.held_since = now
        if not incident.alerted and now - incident.held_since >= self.config.alert.for_:
            incident.fired = now

    @property
    def share_judged(self) -> float:
        """Share of the samples that got a score, or of the time in which there was one, if that is less; else 0."""
        return min(self.judged / self.present, self.scored_verdicts / self.verdicts) if self.present else 0.0

    @property
    def alerts(self) -> int:
        """Alerts that began in the time range."""
        return sum(incident.fired > self.first for incident in self.found)
