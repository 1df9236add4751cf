"""Joint incidents of all jobs as they open, grow, shrink and close: the one place that page, messages and rules ask."""

import math
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import structlog

from detectors.types import Key
from detectors.units import WEEK
from exporter.config.sections.root import Config
from exporter.context.joint import Joint, Member
from exporter.context.joint_history import JointHistory, SavedHistory
from exporter.context.joint_incidents import MOST_OPEN, TOGETHER, Joiner
from exporter.context.label_shares import LabelShares
from exporter.context.openings import REVIVES
from exporter.context.small_moves import SmallMoves
from exporter.joint_wording import series_told
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.verdict import Verdict
from exporter.sinks import checked_json
from exporter.sinks.base import Change, EveryVerdict
from exporter.sinks.joint_book import Joined, JointBook, copied
from exporter.sinks.joint_elsewhere import Elsewhere, Heard
from exporter.sinks.recent import RecentVerdicts
from exporter.sinks.saving import SavingThread

log = structlog.get_logger()

FILE: Final = "joint-incidents.json"
MOST_PUBLISHED: Final = 200
"""Open joint incidents that have metrics: the largest."""
_LARGEST: Final = 64 * 2**20
_MEMORY: Final = 4 * WEEK
_LONGEST_STEP: Final = 600.0
_KEPT_EVERY: Final = 3600.0
"""Seconds after which the file is written though nothing opened: small moves were learnt."""


class _Saved(msgspec.Struct):
    open: list[Joint] = []
    past: list[Joint] = []
    history: SavedHistory = msgspec.field(default_factory=SavedHistory)
    small: SavedHistory = msgspec.field(default_factory=SavedHistory)
    causes: float = 0.0
    watched: float = 0.0


class JointLog(EveryVerdict):
    """Follows joint incidents. Safe to use from any thread.

    Every open incident belongs to one, most of them alone, from the cycle in which it opens until it ends. The id of
    each is saved in the `state` folder; without one, or after its loss, it is made anew of the first incident's series
    and beginning. A cycle in which nothing opens or ends costs a look at what is open.

    Parameters
    ----------
    recent : RecentVerdicts
        Tells when a series left its band.
    metrics : SelfMetrics
    """

    def __init__(self, recent: RecentVerdicts | None = None, metrics: SelfMetrics | None = None) -> None:
        self._recent, self._metrics = recent or RecentVerdicts(), metrics or SelfMetrics()
        self._lock = threading.Lock()  # never held during input or output
        self._shares = LabelShares()
        self._joiner = Joiner(self._shares, JointHistory(), SmallMoves())
        self._book = JointBook()
        self._steps: dict[str, float] = {}
        self._on_flag: set[str] = set()  # jobs whose alerts fire on every incident
        self._chance: dict[str, float] = {}
        self._newest = self._kept = -math.inf
        self._file: Path | None = None
        self._saving = SavingThread("joint incidents", self.save)
        self._trouble, self._too_many = "", False

    def prepare(self, config: Config) -> Change:
        """Prepare another configuration; a file that is new to us is read."""
        file = config.state.path / FILE if config.state else None
        saved = _load(file) if file is not None and file != self._file else None
        return Change(lambda: self._use(config, file, saved))

    def _use(self, config: Config, file: Path | None, saved: _Saved | None) -> None:
        with self._lock:
            self._file = file
            self._steps = {name: job.step for name, job in config.jobs.items()}
            self._chance = {name: job.false_alarms / WEEK for name, job in config.jobs.items()}
            self._shares.keep(config.jobs)
            if saved is not None:
                self._restore(saved)
            self._on_flag = {name for name, job in config.jobs.items() if job.alerting_metric == "flag"}
            for job in self._book.of.keys() - config.jobs.keys():
                for joined in self._book.of.pop(job).values():
                    self._book.end(joined, time.time())

    def _restore(self, saved: _Saved) -> None:
        joiner = self._joiner = Joiner(self._shares, JointHistory(saved.history), SmallMoves(saved.small))
        joiner.causes, joiner.watched = saved.causes, saved.watched
        joiner.remember(saved.open)
        self._book.restore(saved.open, saved.past)

    def record(self, verdict: Verdict) -> None:
        """Take in which incidents have opened, become alerts, and ended."""
        with self._lock:
            self._watch(verdict)
            near, book = self._near(verdict.job), self._book
            self._joiner.small.take(verdict.job, verdict.keys, verdict.score, verdict.flag, verdict.time, near)
            if verdict.time - self._kept >= _KEPT_EVERY:
                self._kept, book.changed = verdict.time, True
            rows = np.flatnonzero(verdict.flag).tolist()
            mine = book.of.setdefault(verdict.job, {})
            if not (rows or mine):
                return
            flagged = {verdict.keys[row]: row for row in rows}
            self._close(mine, flagged, verdict)
            opened = [(key, row) for key, row in flagged.items() if key not in mine or mine[key][0].over is not None]
            if opened:
                self._join(mine, opened, verdict)
            for row in np.flatnonzero(verdict.flag if verdict.job in self._on_flag else verdict.alert).tolist():
                found = mine.get(verdict.keys[row])
                if found is not None and found[0].over is None and not found[0].alert:
                    found[0].alert = book.changed = True
            if book.unpublished:
                self._publish()

    def _near(self, job: str) -> float:
        """Return the seconds within which incidents of a job begin at the same time."""
        return max(TOGETHER, 2 * self._steps.get(job, 60.0))

    def _watch(self, verdict: Verdict) -> None:
        """Note which series there are, and for how long all of them have been looked at."""
        self._shares.take(verdict.job, verdict.keys)
        if math.isfinite(self._newest) and verdict.time > self._newest:
            passed = min(verdict.time - self._newest, _LONGEST_STEP)
            kept = math.exp(-passed / _MEMORY)
            self._joiner.causes *= kept
            self._joiner.watched = self._joiner.watched * kept + passed
        self._newest = max(self._newest, verdict.time)

    def _close(self, mine: dict[Key, Joined], flagged: dict[Key, int], verdict: Verdict) -> None:
        for key, joined in list(mine.items()):  # a microsecond each, of MOST_OPEN at most
            member, row = joined[0], flagged.get(key)
            if member.over is None:
                if row is None or float(verdict.since[row]) != member.since:
                    self._book.end(joined, verdict.time)
            elif verdict.time - member.over > REVIVES:
                del mine[key]

    def _join(self, mine: dict[Key, Joined], opened: list[tuple[Key, int]], verdict: Verdict) -> None:
        room = self._book.room
        if room < len(opened) and not self._too_many:
            hint = "the rest is told one by one; is something wrong with a job, or with all of them?"
            log.warning("incidents_not_grouped", most=MOST_OPEN, hint=hint)
        self._too_many = room < len(opened)
        opened = opened[: max(room, 0)]
        if not opened:
            return
        self._shares.count(verdict.time)
        sizes = self._shares.sizes()
        self._joiner.expected = sum(count * self._chance.get(job, 1.0 / WEEK) for job, count in sizes.items())
        rows = [row for _, row in opened]
        since = verdict.since[rows]
        step = self._steps.get(verdict.job, 60.0)
        moved = np.fmin(self._recent.left_band(verdict.job, verdict.keys, rows, since, step), since)
        for at, (key, _) in enumerate(opened):
            if key in mine:  # it opens again: what was out of its band before belongs to the incident before
                moved[at] = min(max(moved[at], mine[key][0].over or -math.inf), since[at])
        members = [
            Member(verdict.job, dict(key), float(since[at]), float(moved[at])) for at, (key, _) in enumerate(opened)
        ]
        joints = self._joiner.open(members, step)
        for (key, _), member, joint in zip(opened, members, joints, strict=True):
            self._book.add(key, member, joint)

    def hear(self, heard: Sequence[Heard], replicas: int, now: float) -> None:
        """Take in the open incidents of all other replicas, as they publish them at `now` (Unix seconds)."""
        with self._lock:
            Elsewhere(self._book, self._joiner, self._near).hear(heard, replicas, now)
            if self._book.unpublished:
                self._publish()

    def of(self, job: str, key: Key, since: float) -> Joint | None:
        """Return what an incident of a series, which began at `since` (Unix seconds), belongs or belonged to."""
        with self._lock:
            found = self._book.find(job, key, since)
            return None if found is None else copied(found)

    def joined(self, job: str) -> dict[Key, Joined]:
        """Return member and joint incident by series, of those that are open or have just ended; not to be changed."""
        with self._lock:
            return dict(self._book.of.get(job, {}))

    def alerting(self, most: int) -> list[tuple[str, Member]]:
        """Return the joint incidents that are open and were an alert, the newest `most`: id, and our first mover.

        Copies, as the lock is not held for longer.
        """
        with self._lock:
            found = [joint for joint in self._book.still_open() if any(each.alert for each in joint.members)]
            found.sort(key=lambda joint: -joint.members[0].since)
            mine = ((joint.id, [each for each in joint.by_movement if not each.elsewhere]) for joint in found[:most])
            return [(name, msgspec.structs.replace(some[0])) for name, some in mine]

    def open(self) -> list[Joint]:
        """Return the joint incidents of which one is open at least."""
        with self._lock:
            return [copied(joint) for joint in self._book.still_open()]

    def _publish(self) -> None:
        """Set the metrics of open joint incidents."""
        self._book.unpublished = False
        found = self._book.still_open()
        self._metrics.joint_incidents.set(len(found))
        several = sorted((each for each in found if each.is_joint), key=lambda each: -self._book.open_of(each))
        self._metrics.joint_incident_series.clear()
        for each in several[:MOST_PUBLISHED]:
            first = series_told(each.first.job, each.first.labels)
            self._metrics.joint_incident_series.labels(each.id, first).set(self._book.open_of(each))

    def start(self) -> None:
        """Begin to write the file."""
        self._saving.start()

    def close(self, timeout: float) -> None:
        """Write what is left."""
        self._saving.close(timeout)

    def save(self) -> None:
        """Write the file if something has changed. A failure is logged once and tried again."""
        with self._lock:
            file = self._file
            if file is None or not self._book.changed:
                return
            self._book.changed = False
            joiner = self._joiner
            still_open, over = ([copied(each) for each in some] for some in (self._book.still_open(), self._book.over))
            histories = joiner.history.saved(), joiner.small.history.saved()
            content = _Saved(still_open, over, *histories, joiner.causes, joiner.watched)
        hint = "make room or the folder writable; until then a restart forgets what moved together"
        self._trouble = checked_json.keep(file, content, self._trouble, "joint_incidents_not_saved", hint)
        self._book.changed = self._book.changed or bool(self._trouble)


def _load(file: Path) -> _Saved:
    hint = "what is open is grouped anew; what usually moves together is learnt again"
    return checked_json.load(file, _LARGEST, _Saved, "joint_incidents_refused", hint)
