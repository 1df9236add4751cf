"""What each receiver has been sent, and the file that keeps it over a restart."""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

import msgspec
import numpy as np
import structlog

from detectors.types import Key
from detectors.units import DAY, HOUR
from exporter.atomic_files import TooLarge, read_once, write_atomically
from exporter.config.sections.forecast import ForecastConfig
from exporter.pipeline.incidents import NO_DATA_CLOSES
from exporter.pipeline.verdict import Verdict
from exporter.query_units import Unit
from exporter.sinks import checked_json
from exporter.sinks.notify.limits import NearLimit, NearLimits
from exporter.sinks.notify.notification import Ending, Incident, PendingNotifications, ending_of, incident_of
from exporter.sinks.notify.posts import Post

MOST: Final = 10_000
"""Incidents one receiver keeps track of; those beyond it are only counted."""
ABSORBED: Final = 600.0
"""Seconds from the message on a joint incident until which what begins, and joins it, is no message of its own, however
much later it becomes an alert."""
HELD: Final = HOUR
"""Seconds, at most, for which the end of an incident waits for those of the others of its joint incident."""
_REMEMBERED: Final = DAY


class _Saved(msgspec.Struct):
    incidents: list[Incident] = []
    passed: dict[str, int] = {}
    sent: list[float] = []
    posts: list[Post] = []
    told: dict[str, float] = {}
    limits: list[NearLimit] = []


@dataclass(slots=True)
class _OfJob:
    incidents: dict[Key, Incident] = field(default_factory=dict)
    known: dict[Key, float] = field(default_factory=dict)
    """When there was last a verdict, by incident; empty after a restart, since our own absence is not missing data."""
    entities: int = 0
    judged: float = 0.0
    """Time of the newest verdict."""


class DeliveryState:
    """Tracks what a receiver has been sent.

    Only the current state counts: changes between two messages are merged.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, _OfJob] = {}
        self._passed: dict[str, int] = {}
        self._beyond: dict[str, int] = {}
        self.sent: list[float] = []
        """When the newest messages were sent (Unix seconds), as many as the rate limit needs."""
        self.told: dict[str, float] = {}
        """By the id of each joint incident the newest sample when the first message on it was sent (Unix seconds)."""
        self.limits, self.resolved = NearLimits(), True
        """What the receiver was told of limits, and whether it wants to be told an end."""
        self.posts: list[Post] = []
        """Messages that are edited until all their incidents are over."""

    def take(
        self,
        verdict: Verdict,
        metric: Literal["alert", "flag"],
        units: Mapping[str, Unit] = MappingProxyType({}),
        forecast: ForecastConfig | None = None,
    ) -> int:
        """Take a verdict; return how many incidents will never have a notification of their own.

        `units` are those of the job's channels, and `forecast` says when a limit is near.
        """
        self.limits.take(verdict, forecast, units)
        mine = self._jobs.setdefault(verdict.job, _OfJob())
        mine.entities, mine.judged = len(verdict.keys), verdict.time
        room, beyond = MOST - self.size, 0
        calm = set(mine.incidents)
        for row in np.flatnonzero(verdict.alert if metric == "alert" else verdict.flag).tolist():
            key = verdict.keys[row]
            calm.discard(key)
            if (incident := mine.incidents.get(key)) is not None:
                incident.over = None
                incident.take(verdict, row, units)
            elif room > 0:
                mine.incidents[key] = incident_of(verdict, row, units)
                room -= 1
            else:
                beyond += 1
                continue
            mine.known[key] = verdict.time
        more = max(beyond - self._beyond.get(verdict.job, 0), 0)
        self._beyond[verdict.job] = beyond
        return more + (self._calmed(mine, verdict, calm) if calm else 0)

    def _calmed(self, mine: _OfJob, verdict: Verdict, calm: set[Key]) -> int:
        """End those incidents of `calm` that are over; return how many of them ended without a notification."""
        row_of = {key: row for row, key in enumerate(verdict.keys) if key in calm}
        passed = 0
        for key in calm:
            incident, row = mine.incidents[key], row_of.get(key)
            if row is not None and math.isfinite(float(verdict.score[row])):
                mine.known[key] = verdict.time
                if verdict.flag[row]:  # its alert is gone, as after a restart without saved state, but it is not over
                    continue
                incident.take(verdict, row, {channel.name: channel.unit for channel in incident.channels})
                passed += self._end(mine, key, incident, *ending_of(verdict, row))
            elif verdict.time - mine.known.setdefault(key, verdict.time) >= NO_DATA_CLOSES:
                passed += self._end(mine, key, incident, verdict.time, "no data")
        return passed

    def incidents(self) -> list[Incident]:
        """Return all incidents."""
        return [each for mine in self._jobs.values() for each in mine.incidents.values()]

    def absorb(self) -> list[Incident]:
        """Take as told what belongs to a joint incident and began no later than just after the message on it."""
        newest = self.judged(self._jobs)
        self.told = {name: at for name, at in self.told.items() if newest - at < _REMEMBERED}
        joined = [
            each
            for each in self.incidents()
            if not each.notified and each.joint in self.told and each.since - self.told[each.joint] <= ABSORBED
        ]
        for each in joined:
            each.notified = True
        return joined

    def _ended(self, mine: _OfJob, going_on: Collection[str]) -> list[Incident]:
        """Return the incidents of a job whose end is to be told: as one, where they are one."""
        over = [(each, each.over) for each in mine.incidents.values() if each.over is not None]
        return [each for each, at in over if each.joint not in going_on or mine.judged - at >= HELD]

    def _going_on(self) -> set[str]:
        """Return the joint incidents of which one is open."""
        return {each.joint for each in self.incidents() if each.over is None and each.joint}

    def keep(self, jobs: Collection[str], now: float) -> int:
        """End the incidents of all other jobs (`now` in Unix seconds); return how many ended without a notification."""
        self.limits.keep(jobs)
        gone = [mine for job, mine in self._jobs.items() if job not in jobs]
        every = [(mine, key, incident) for mine in gone for key, incident in mine.incidents.items()]
        return sum(self._end(*each, now, "removed") for each in every)

    def _end(self, mine: _OfJob, key: Key, incident: Incident, now: float, ending: Ending) -> bool:
        if incident.notified:
            incident.end(now, ending)
            return False
        del mine.incidents[key]
        mine.known.pop(key, None)
        self._passed[incident.job] = self._passed.get(incident.job, 0) + 1
        return True

    @property
    def size(self) -> int:
        """How many incidents there are."""
        return sum(len(mine.incidents) for mine in self._jobs.values())

    def pending(self) -> PendingNotifications:
        """Return what has yet to be sent, the most severe first."""
        opened, over, open_now, going_on = {}, {}, {}, self._going_on()
        for job, mine in self._jobs.items():
            every = mine.incidents.values()
            if new := [each for each in every if not each.notified]:
                opened[job] = sorted(new, key=lambda each: -(each.severity or 0.0))
            if ended := self._ended(mine, going_on):
                over[job] = ended
            open_now[job] = sum(each.over is None for each in every)
        entities = {job: mine.entities for job, mine in self._jobs.items()}
        limits = self.limits.pending(self.resolved)
        return PendingNotifications(opened, over, dict(self._passed), open_now, entities, limits)

    def pending_count(self) -> int:
        """Return how many incidents and limits have a notification pending."""
        going_on = self._going_on()
        opened = sum(not each.notified for each in self.incidents())
        over = sum(len(self._ended(mine, going_on)) for mine in self._jobs.values())
        return opened + over + sum(self._passed.values()) + len(self.limits.pending(self.resolved))

    def judged(self, jobs: Iterable[str]) -> float:
        """Return the time of the newest verdict on any of some jobs (Unix seconds), 0 where there was none."""
        return max((self._jobs[job].judged for job in jobs if job in self._jobs), default=0.0)

    def without_posts(self) -> PendingNotifications:
        """Return what has yet to be sent, but for the ends that messages tell once they are edited."""
        pending = self.pending()
        posted = {id(each) for post in self.posts for each in post.members}
        over = {job: [each for each in ended if id(each) not in posted] for job, ended in pending.over.items()}
        return replace(pending, over={job: ended for job, ended in over.items() if ended})

    def mark_ended(self, post: Post) -> None:
        """Note that a message tells how some of its incidents ended."""
        for each in post.members:
            mine = self._jobs.get(each.job)
            if each.over is not None and mine is not None and mine.incidents.get(each.key) is each:
                self.mark_sent(PendingNotifications({}, {each.job: [each]}, {}, {}, {}))

    def mark_sent(self, sent: PendingNotifications) -> None:
        """Note that the receiver has got what `sent` holds."""
        for incident in _each(sent.opened):
            incident.notified = True
            if incident.joint:
                self.told.setdefault(incident.joint, self.judged([incident.job]))
        for incident in _each(sent.over):
            mine, key = self._jobs[incident.job], incident.key
            del mine.incidents[key]
            mine.known.pop(key, None)
        self.limits.mark_sent(sent.limits)
        for job in sent.passed:
            del self._passed[job]

    def encode(self) -> bytes:
        """Encode everything except what the next verdict brings anyway."""
        return checked_json.encode(
            _Saved(self.incidents(), self._passed, self.sent, self.posts, self.told, self.limits.known())
        )

    @classmethod
    def decode(cls, data: bytes) -> "DeliveryState":
        """Read what `encode` wrote. Raises ValueError when it is anything else."""
        saved = checked_json.decode(data, _Saved)
        state = cls()
        state._passed, state.sent, state.told = saved.passed, saved.sent, saved.told
        state.limits = NearLimits(saved.limits)
        for incident in saved.incidents:
            state._jobs.setdefault(incident.job, _OfJob()).incidents[incident.key] = incident
        for post in saved.posts:
            post.members = [state._same(each) for each in post.members]
        state.posts = saved.posts
        return state

    def _same(self, incident: Incident) -> Incident:
        """Return the incident that is followed where a copy of it is given, else the copy."""
        mine = self._jobs.get(incident.job)
        known = mine.incidents.get(incident.key) if mine is not None else None
        return known if known is not None and known.since == incident.since else incident


def _each(by_job: dict[str, list[Incident]]) -> Iterable[Incident]:
    return (incident for incidents in by_job.values() for incident in incidents)


log = structlog.get_logger()

_LARGEST: Final = 256 * 2**20


def save(file: Path, state: DeliveryState, receiver: str) -> None:
    """Save what `receiver` was sent. A failure is logged, and notifications go on."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, state.encode())
    except OSError as error:
        hint = "a restart may repeat a notification or miss an end; free disk space or make the folder writable"
        log.error("notifications_not_saved", receiver=receiver, file=str(file), error=str(error), hint=hint)


def load(file: Path, receiver: str) -> DeliveryState:
    """Load what `receiver` was sent: nothing if there is no file, or if it is damaged, which is logged."""
    try:
        return DeliveryState.decode(read_once(file, _LARGEST))
    except FileNotFoundError:
        pass
    except (OSError, TooLarge, ValueError) as error:
        hint = "open incidents are notified again"
        log.warning("notifications_refused", receiver=receiver, file=str(file), error=str(error), hint=hint)
    return DeliveryState()
