"""Joint incidents of all jobs as they open, grow, shrink and close: the one place that page, messages and rules ask."""

import math
import threading
import time
from collections import Counter, deque
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
from exporter.context.joint_incidents import CROWD, MOST_OPEN, TOGETHER, Joiner
from exporter.context.label_shares import LabelShares
from exporter.context.openings import REVIVES
from exporter.context.small_moves import SmallMoves
from exporter.joint_wording import series_told
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.verdict import Verdict
from exporter.sinks import checked_json
from exporter.sinks.base import Change, EveryVerdict
from exporter.sinks.recent import RecentVerdicts
from exporter.sinks.saving import SavingThread

log = structlog.get_logger()

FILE: Final = "joint-incidents.json"
MOST_OVER: Final = 500
"""Joint incidents that are over and still known: those of several series, the newest."""
MOST_PUBLISHED: Final = 200
"""Open joint incidents that have metrics: the largest."""
_LARGEST: Final = 64 * 2**20
_MEMORY: Final = 4 * WEEK
_LONGEST_STEP: Final = 600.0
_KEPT_EVERY: Final = 3600.0
"""Seconds after which the file is written though nothing opened: small moves were learnt."""
Joined = tuple[Member, Joint]
RENAMED_WITHIN: Final = 180.0
"""Seconds from the beginning of a joint incident up to which it takes the id that another replica gave it, though it is
an alert: after that a message was sent, and an alert must not change its labels."""


class Heard(msgspec.Struct, frozen=True):
    """An open incident that another replica publishes."""

    job: str
    key: Key
    moved: float
    """Unix seconds."""
    joint: str
    """Id of its joint incident."""


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
        self._of: dict[str, dict[Key, Joined]] = {}
        self._elsewhere: dict[tuple[str, Key], Joined] = {}
        self._over: deque[Joint] = deque(maxlen=MOST_OVER)
        self._steps: dict[str, float] = {}
        self._chance: dict[str, float] = {}
        self._newest = self._kept = -math.inf
        self._open: dict[str, int] = {}  # open incidents by the id of what they belong to
        self._file: Path | None = None
        self._changed, self._saving = False, SavingThread("joint incidents", self.save)
        self._trouble, self._too_many, self._unpublished = "", False, False

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
            for job in self._of.keys() - config.jobs.keys():
                for joined in self._of.pop(job).values():
                    self._end(joined, time.time())

    def _restore(self, saved: _Saved) -> None:
        joiner = self._joiner = Joiner(self._shares, JointHistory(saved.history), SmallMoves(saved.small))
        joiner.causes, joiner.watched = saved.causes, saved.watched
        joiner.remember(saved.open)
        self._over.extend(saved.past)
        for joint in saved.open:
            for each in joint.members:
                if each.over is None and each.elsewhere:
                    self._elsewhere[each.job, each.key] = each, joint
                    self._open[joint.id] = self._open.get(joint.id, 0) + 1
                elif each.over is None:
                    self._of.setdefault(each.job, {})[each.key] = each, joint
                    self._open[joint.id] = self._open.get(joint.id, 0) + 1

    def record(self, verdict: Verdict) -> None:
        """Take in which incidents have opened, become alerts, and ended."""
        with self._lock:
            self._watch(verdict)
            near = max(TOGETHER, 2 * self._steps.get(verdict.job, 60.0))
            self._joiner.small.take(verdict.job, verdict.keys, verdict.score, verdict.flag, verdict.time, near)
            if verdict.time - self._kept >= _KEPT_EVERY:
                self._kept, self._changed = verdict.time, True
            rows = np.flatnonzero(verdict.flag).tolist()
            mine = self._of.setdefault(verdict.job, {})
            if not (rows or mine):
                return
            flagged = {verdict.keys[row]: row for row in rows}
            self._close(mine, flagged, verdict)
            opened = [(key, row) for key, row in flagged.items() if key not in mine or mine[key][0].over is not None]
            if opened:
                self._join(mine, opened, verdict)
            for row in np.flatnonzero(verdict.alert).tolist():
                found = mine.get(verdict.keys[row])
                if found is not None and found[0].over is None and not found[0].alert:
                    found[0].alert = self._changed = True
            if self._unpublished:
                self._publish()

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
                    self._end(joined, verdict.time)
            elif verdict.time - member.over > REVIVES:
                del mine[key]

    def _end(self, joined: Joined, now: float) -> None:
        member, joint = joined
        member.over, self._changed = now, True
        self._unpublished = True
        self._open[joint.id] -= 1
        if not self._open[joint.id]:
            del self._open[joint.id]
            joint.over = now
            if joint.is_joint and joint not in self._over:
                self._over.append(joint)

    def _join(self, mine: dict[Key, Joined], opened: list[tuple[Key, int]], verdict: Verdict) -> None:
        room = MOST_OPEN - sum(self._open.values())
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
            mine[key] = member, joint
            if joint in self._over:
                self._over.remove(joint)
            self._open[joint.id] = self._open.get(joint.id, 0) + 1
        self._changed = self._unpublished = True

    def hear(self, heard: Sequence[Heard], replicas: int, now: float) -> None:
        """Take in the open incidents of all other replicas, as they publish them at `now` (Unix seconds).

        What is one incident with ours belongs to the same joint incident; of two ids all replicas choose that of the
        one that moved first, unless alerts with the other have been sent.
        """
        with self._lock:
            self._joiner.replicas = replicas
            there = {(each.job, each.key): each for each in heard if each.key not in self._of.get(each.job, {})}
            for name in self._elsewhere.keys() - there.keys():
                self._end(self._elsewhere.pop(name), now)
            room = MOST_OPEN - sum(self._open.values())
            new = [there[name] for name in there.keys() - self._elsewhere.keys()]
            new = sorted(new, key=lambda each: (each.moved, each.joint, each.key))[: max(room, 0)]
            if new:
                self._shares.count(now)
                by_id = {joint.id: joint for joint in self._still_open()}
                by_id |= {there[name].joint: joined[1] for name, joined in self._elsewhere.items()}
                sizes = Counter(each.joint for each in there.values())
                for each in new:
                    self._take(each, by_id, now, in_crowd=sizes[each.joint] >= CROWD)
                self._changed = True
            if self._unpublished:
                self._publish()

    def _take(self, heard: Heard, by_id: dict[str, Joint], now: float, in_crowd: bool) -> None:
        """Take in one incident of another replica; one of a crowd belongs to a crowd of ours of the same time."""
        member = Member(heard.job, dict(heard.key), heard.moved, heard.moved, elsewhere=True)
        near = max(TOGETHER, 2 * self._steps.get(heard.job, 60.0))
        opening, ours = self._joiner.hear(member, near)
        if ours is None and in_crowd:
            crowds = (each for each in by_id.values() if each.because == "time" and each.members)
            ours = next((each for each in crowds if abs(each.first.moved - heard.moved) <= near), None)
        known = by_id.get(heard.joint)
        joint = known or ours or Joint(heard.joint, [])
        if known is not None and ours is not None and known is not ours:
            joint = self._unite(known, ours, now)
            by_id[heard.joint] = by_id[joint.id] = joint
        elif joint.members and (heard.moved, heard.joint) < (joint.first.moved, joint.id):
            self._rename(joint, heard.joint, now)
        by_id.setdefault(heard.joint, joint)
        joint.members.append(member)
        joint.over = None
        opening.joint = joint
        self._elsewhere[heard.job, heard.key] = member, joint
        if joint in self._over:
            self._over.remove(joint)
        self._open[joint.id] = self._open.get(joint.id, 0) + 1
        self._unpublished = True

    def _unite(self, known: Joint, ours: Joint, now: float) -> Joint:
        """Make one of two joint incidents of which another replica's member says that they are one, if that can be.

        One that only other replicas see has no id of ours yet; of two of ours each keeps its own.
        """
        strange = next((each for each in (known, ours) if all(one.elsewhere for one in each.members)), None)
        if strange is None:
            return known
        kept = ours if strange is known else known
        if (strange.first.moved, strange.id) < (kept.first.moved, kept.id):
            self._rename(kept, strange.id, now)
        kept.members += strange.members
        for name, joined in self._elsewhere.items():
            if joined[1] is strange:
                self._elsewhere[name] = joined[0], kept
        count = self._open.pop(strange.id, 0) if strange.id != kept.id else 0
        self._open[kept.id] = self._open.get(kept.id, 0) + count
        self._joiner.replace(strange, kept)
        return kept

    def _rename(self, joint: Joint, name: str, now: float) -> None:
        """Give a joint incident the id that another replica has given it, while no alert with ours was sent."""
        mine = [each for each in joint.members if not each.elsewhere]
        if any(each.alert for each in mine) and now - min(each.since for each in mine) > RENAMED_WITHIN:
            return
        self._open[name] = self._open.get(name, 0) + self._open.pop(joint.id, 0)
        joint.id = name

    def of(self, job: str, key: Key, since: float) -> Joint | None:
        """Return what an incident of a series, which began at `since` (Unix seconds), belongs or belonged to."""
        wanted = tuple(sorted(key))
        with self._lock:
            found = self._of.get(job, {}).get(wanted)
            if found is not None and abs(found[0].since - since) < 1.0:
                return _copy(found[1])
            for joint in self._over:
                for each in joint.members:
                    if each.job == job and abs(each.since - since) < 1.0 and each.key == wanted:
                        return _copy(joint)
        return None

    def joined(self, job: str) -> dict[Key, Joined]:
        """Return member and joint incident by series, of those that are open or have just ended; not to be changed."""
        with self._lock:
            return dict(self._of.get(job, {}))

    def alerting(self, most: int) -> list[tuple[str, Member]]:
        """Return the joint incidents that are open and were an alert, the newest `most`: id, and our first mover.

        Copies, as the lock is not held for longer.
        """
        with self._lock:
            found = [joint for joint in self._still_open() if any(each.alert for each in joint.members)]
            found.sort(key=lambda joint: -joint.members[0].since)
            mine = ((joint.id, [each for each in joint.by_movement if not each.elsewhere]) for joint in found[:most])
            return [(name, msgspec.structs.replace(some[0])) for name, some in mine]

    def open(self) -> list[Joint]:
        """Return the joint incidents of which one is open at least."""
        with self._lock:
            return [_copy(joint) for joint in self._still_open()]

    def _still_open(self) -> list[Joint]:
        found = {joint.id: joint for mine in self._of.values() for _, joint in mine.values() if joint.over is None}
        return list(found.values())

    def _publish(self) -> None:
        """Set the metrics of open joint incidents."""
        self._unpublished = False
        found = self._still_open()
        self._metrics.joint_incidents.set(len(found))
        several = sorted((each for each in found if each.is_joint), key=lambda each: -self._open[each.id])
        self._metrics.joint_incident_series.clear()
        for each in several[:MOST_PUBLISHED]:
            first = series_told(each.first.job, each.first.labels)
            self._metrics.joint_incident_series.labels(each.id, first).set(self._open[each.id])

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
            if file is None or not self._changed:
                return
            self._changed = False
            joiner = self._joiner
            still_open, over = ([_copy(each) for each in some] for some in (self._still_open(), self._over))
            histories = joiner.history.saved(), joiner.small.history.saved()
            content = _Saved(still_open, over, *histories, joiner.causes, joiner.watched)
        hint = "make room or the folder writable; until then a restart forgets what moved together"
        self._trouble = checked_json.keep(file, content, self._trouble, "joint_incidents_not_saved", hint)
        self._changed = self._changed or bool(self._trouble)


def no_joint_incidents(_job: str) -> dict[Key, Joined]:
    """Return that nothing is known of joint incidents."""
    return {}


def _copy(joint: Joint) -> Joint:
    return msgspec.structs.replace(joint, members=list(joint.members))


def _load(file: Path) -> _Saved:
    hint = "what is open is grouped anew; what usually moves together is learnt again"
    return checked_json.load(file, _LARGEST, _Saved, "joint_incidents_refused", hint)
