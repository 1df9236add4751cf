"""The incidents of the past: what our page lists of them, also after a restart."""

import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np

from detectors.types import Key
from exporter.config.sections.root import Config
from exporter.config.sections.service import AuditConfig
from exporter.pipeline.verdict import Verdict
from exporter.query_units import Unit
from exporter.sinks import checked_json
from exporter.sinks.audit_incidents import incidents_of_audit
from exporter.sinks.base import Change, EveryVerdict
from exporter.sinks.notify.notification import Incident, ending_of, incident_of
from exporter.sinks.saving import SavingThread

MOST: Final = 2000
"""Incidents that are over: the newest of those that were alerts, and as many of the others, which come by chance."""
MOST_OPEN: Final = 2000
"""Open incidents that are followed at once."""
FILE: Final = "incidents.json"
FLAGGED_WITHIN: Final = 900.0
"""Seconds, at most, from the beginning of an incident to its first row in the audit file, for links."""
_LARGEST: Final = 256 * 2**20
End = Literal["", "recovered", "adopted", "accepted", "no data", "expected", "removed", "unknown"]


class Logged(msgspec.Struct):
    """An incident, with what was thought of it; `incident.over` is None while it is open."""

    incident: Incident
    alerted_at: float | None = None
    """When it became an alert (Unix seconds)."""
    unknown: bool = False
    """Whether nobody saw how it ended: the job began again, or the exporter did not run."""
    audited: bool = False
    """Whether it comes from the audit file, which does not say whether it was an alert."""

    @property
    def alerted(self) -> bool:
        """Whether it is or was an alert."""
        return self.alerted_at is not None

    @property
    def ending(self) -> End:
        """How it ended, "" while it is open."""
        if self.incident.over is None:
            return ""
        return "unknown" if self.unknown else self.incident.ending


class _Saved(msgspec.Struct):
    open: list[Logged] = []
    past: list[Logged] = []
    began: float | None = None


class IncidentLog(EveryVerdict):
    """Follows incidents from their opening to their end. Safe to use from any thread.

    A cycle in which nothing opens or ends costs a look at what is open. With a `state` folder the log is written to a
    file there by a thread of its own; without one it lasts as long as the process.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # never held during input or output
        self._open: dict[str, dict[Key, Logged]] = {}
        self._alerts: deque[Logged] = deque(maxlen=MOST)
        self._others: deque[Logged] = deque(maxlen=MOST)
        self._taken: set[tuple[str, Key]] = set()  # series of which an incident was taken from view
        self.began = time.time()
        """Unix seconds from which on incidents are remembered."""
        self._units: dict[str, Mapping[str, Unit]] = {}
        self._file: Path | None = None
        self._on = True
        self._audit: AuditConfig | None = None
        self._changed, self._saving = False, SavingThread("incident log", self.save, self.read_audit)
        self._trouble = ""

    @property
    def is_kept(self) -> bool:
        """Whether the log outlives the process."""
        return self._file is not None

    def prepare(self, config: Config) -> Change:
        """Prepare another configuration; a file that is new to us is read."""
        file = config.state.path / FILE if config.state and config.web.ui else None
        saved = _load(file) if file is not None and file != self._file else _Saved()
        return Change(lambda: self._use(config, file, saved))

    def _use(self, config: Config, file: Path | None, saved: _Saved) -> None:
        units: dict[str, Mapping[str, Unit]] = {name: job.units for name, job in config.jobs.items()}
        with self._lock:
            self._on, self._file, self._units = config.web.ui, file, units
            self._audit = config.audit if config.web.ui and config.state is None else None
            self.began = min(self.began, saved.began or self.began)
            for each in saved.past:
                self._put(each)
            for each in saved.open:
                self._open.setdefault(each.incident.job, {}).setdefault(each.incident.key, each)
            for job in self._open.keys() - config.jobs.keys():
                for each in self._open.pop(job).values():
                    each.incident.end(time.time(), "removed")
                    self._put(each)
                    self._changed = True

    def record(self, verdict: Verdict) -> None:
        """Take in which incidents have begun and ended."""
        if not self._on:
            return
        rows = np.flatnonzero(verdict.flag).tolist()
        with self._lock:
            mine = self._open.setdefault(verdict.job, {})
            if not (rows or mine):
                return
            flagged = {verdict.keys[row]: row for row in rows}
            units = self._units.get(verdict.job, {})
            gone = [key for key, each in mine.items() if not _goes_on(each, verdict, flagged.get(key))]
            if gone:
                self._end(mine, gone, verdict, units)
            if len(mine) < len(rows):
                for key, row in flagged.items():
                    if len(mine) >= MOST_OPEN:
                        break
                    if key not in mine:
                        mine[key] = self._again(verdict, row) or Logged(incident_of(verdict, row, units))
                        self._changed = True
            for key, each in mine.items():  # a few microseconds each, of MOST_OPEN at most
                row = flagged[key]
                each.incident.take(verdict, row, units)
                each.incident.severity = float(verdict.severity[row])
            for row in np.flatnonzero(verdict.alert).tolist():
                logged = mine.get(verdict.keys[row])
                if logged is not None and not logged.alerted:
                    logged.alerted_at, self._changed = verdict.time, True

    def _again(self, verdict: Verdict, row: int) -> Logged | None:
        """Return an incident that was taken from view as expected and is shown again: it is one, not two."""
        if (verdict.job, verdict.keys[row]) not in self._taken:
            return None
        for ended in (self._alerts, self._others):
            for logged in reversed(ended):
                if logged.incident.ending == "expected" and _is(
                    logged, verdict.job, verdict.keys[row], float(verdict.since[row])
                ):
                    ended.remove(logged)
                    logged.incident.over, logged.incident.ending = None, "recovered"
                    return logged
        return None

    def _end(self, mine: dict[Key, Logged], gone: list[Key], verdict: Verdict, units: Mapping[str, Unit]) -> None:
        ended = {verdict.keys[row]: row for row in np.flatnonzero(verdict.changed & ~verdict.flag).tolist()}
        there = frozenset(verdict.keys) if gone != list(ended) else frozenset(ended)
        for key in gone:
            logged = mine.pop(key)
            incident = logged.incident
            if (row := ended.get(key)) is not None:
                incident.take(verdict, row, units)
                incident.end(*ending_of(verdict, row))
            elif key not in there:
                incident.end(verdict.time, "no data")
            else:
                logged.unknown = True
                incident.end(verdict.time, "recovered")
            self._put(logged)
        self._changed = True

    def _put(self, logged: Logged) -> None:
        (self._alerts if logged.alerted else self._others).append(logged)
        if logged.incident.ending == "expected":
            self._taken.add((logged.incident.job, logged.incident.key))

    def past(self) -> list[Logged]:
        """Return the incidents that are over, the newest end first; they are not changed any more."""
        with self._lock:
            found = [*self._others, *self._alerts]
        return sorted(found, key=lambda each: -(each.incident.over or 0.0))

    def every(self) -> list[Logged]:
        """Return all incidents, over or open."""
        with self._lock:
            return [*self._others, *self._alerts, *(each for mine in self._open.values() for each in mine.values())]

    def find(self, job: str, key: Key, since: float) -> Logged | None:
        """Return one incident, open or over; `since` is when it began (Unix seconds), to a second.

        The audit file has the first sample that was flagged, which may be later than the beginning.
        """
        return next((each for each in reversed(self.every()) if _is(each, job, key, since)), None)

    def start(self) -> None:
        """Begin to write the file."""
        self._saving.start()

    def close(self, timeout: float) -> None:
        """Write what is left."""
        self._saving.close(timeout)

    def read_audit(self) -> None:
        """Take over what the audit file tells of the time before the start, where no folder keeps it."""
        if self._audit is None:
            return
        found = incidents_of_audit(self._audit, self._units, self.began)
        found.sort(key=lambda each: each[0].over or 0.0)
        logged = [Logged(incident, unknown=not seen, audited=True) for incident, seen in found[-MOST:]]
        with self._lock:
            room = MOST - len(self._others)
            self._others.extendleft(reversed(logged[max(len(logged) - room, 0) :]))

    def save(self) -> None:
        """Write the file if something has changed. A failure is logged once and tried again."""
        with self._lock:
            file = self._file
            if file is None or not self._changed:
                return
            self._changed = False
            still_open = [each for mine in self._open.values() for each in mine.values()]
            content = _Saved(still_open, [*self._others, *self._alerts], self.began)
        hint = "make room or the folder writable; until then a restart forgets the newest past incidents"
        self._trouble = checked_json.keep(file, content, self._trouble, "incidents_not_saved", hint)
        self._changed = self._changed or bool(self._trouble)


def _goes_on(logged: Logged, verdict: Verdict, row: int | None) -> bool:
    return row is not None and float(verdict.since[row]) == logged.incident.since


def _is(logged: Logged, job: str, key: Key, since: float) -> bool:
    incident = logged.incident
    same = abs(incident.since - since) < 1.0
    if logged.audited and incident.over is not None:
        same = incident.since - FLAGGED_WITHIN <= since <= incident.over
    return incident.job == job and same and incident.key == tuple(sorted(key))


def _load(file: Path) -> _Saved:
    hint = "the page lists past incidents from now on only; the audit file still has them"
    return checked_json.load(file, _LARGEST, _Saved, "incidents_refused", hint)
