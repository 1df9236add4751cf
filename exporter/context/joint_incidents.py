"""Joint incidents: which incidents of all jobs are one, because they began together and share labels or usually do."""

import hashlib
import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec

from detectors.types import Key
from detectors.units import HOUR, WEEK
from exporter.context.joint_history import JointHistory, number_of
from exporter.context.label_shares import LabelShares

TOGETHER: Final = 120.0
"""Seconds, at least, between the first movements of incidents that count as begun at the same time; two steps else."""
REACH: Final = HOUR
"""Seconds after which nothing is joined to an incident any more, whatever they share."""
COMMON: Final = 0.5
"""Share of all series from which on a label says nothing about the few that moved."""
CHANCE: Final = 0.02
"""Two that share a label are one where fewer than so many others with it would have opened by chance in that time."""
CROWD: Final = 5
"""Incidents that open together without a label in common are one from this number on,"""
CROWD_CHANCE: Final = 1e-6
"""and where so many come by chance less often than this."""
REVIVES: Final = 300.0
"""Seconds for which one that is over can be joined: it may only have paused."""
MOST_OPEN: Final = 10_000
"""Open incidents that are grouped; more are told one by one."""
_LEARNT_AT_ONCE: Final = 20
"""Others that a series is said to have opened with: the nearest."""
_CROWDED: Final = 100
"""Openings at once that teach nothing about who usually opens with whom: it was one large outage."""
_PRIOR: Final = WEEK
"""Seconds that the number of openings expected by chance is worth, against those seen."""
Because = Literal["alone", "labels", "history", "time"]


class Member(msgspec.Struct, eq=False):
    """One incident of one series. Times are Unix seconds."""

    job: str
    labels: dict[str, str]
    since: float
    moved: float
    """First sample out of its band."""
    over: float | None = None
    alert: bool = False
    """Whether it is or was an alert."""

    @property
    def key(self) -> Key:
        """The identity of the series."""
        return tuple(sorted(self.labels.items()))


class Joint(msgspec.Struct, eq=False):
    """Incidents that are one; `members` in the order in which they joined."""

    id: str
    members: list[Member]
    because: Because = "alone"
    shared: dict[str, str] = {}
    """The label that told it, where one did."""
    over: float | None = None
    """When the last of them ended; None while one is open."""

    @property
    def first(self) -> Member:
        """The one that moved first."""
        return min(self.members, key=lambda each: each.moved)

    @property
    def by_movement(self) -> list[Member]:
        """Its members, who moved first comes first."""
        return sorted(self.members, key=lambda each: each.moved)

    @property
    def is_joint(self) -> bool:
        """Whether there is more than one incident."""
        return len(self.members) > 1

    @property
    def open_count(self) -> int:
        """How many of them are open."""
        return sum(each.over is None for each in self.members)


@dataclass(slots=True, eq=False)
class _Opening:
    """An incident that has just opened, as the others are compared with it."""

    moved: float
    number: int
    joint: Joint | None = None

    def __lt__(self, other: "_Opening") -> bool:
        return self.moved < other.moved


class Joiner:
    """Decides which incidents are one. An incident never changes from one to another: alerts carry the id.

    A label tells that incidents are one where few series have it, compared with how long after each other they moved:
    fewer than CHANCE of the others with it would have opened in that time by chance. So 40 services of a rack may take
    minutes, and a region of thousands is one only if many of it move at once. Two that share nothing are one where
    they have opened together before (see JointHistory). Each opening costs a search for each of its labels.

    Parameters
    ----------
    shares : LabelShares
    history : JointHistory
    """

    def __init__(self, shares: LabelShares, history: JointHistory) -> None:
        self.shares, self.history = shares, history
        self.expected = 0.0
        """Openings a second that come by chance in all series."""
        self.causes, self.watched = 0.0, 0.0
        """Joint incidents that were seen, in so many seconds."""
        self._by_label: dict[tuple[str, str], list[_Opening]] = {}
        self._recent: list[_Opening] = []

    @property
    def rate(self) -> float:
        """Openings a second that have nothing to do with each other, over all series."""
        return (self.expected * _PRIOR + self.causes) / (_PRIOR + self.watched)

    def remember(self, joints: Iterable[Joint]) -> None:
        """Let what opens be joined to what was open before a restart."""
        for joint in joints:
            for each in joint.members:
                self._note(each, _Opening(each.moved, number_of(each.job, each.key), joint))

    def open(self, members: Sequence[Member], step: float) -> list[Joint]:
        """Return what each of some incidents, which have opened in one cycle of a job, belongs to.

        Parameters
        ----------
        members : sequence of Member
        step : float
            Seconds between two samples of the job.
        """
        near = max(TOGETHER, 2 * step)
        openings = [_Opening(each.moved, number_of(each.job, each.key)) for each in members]
        self._forget(min(each.moved for each in members) - REACH)
        for member, opening in zip(members, openings, strict=True):
            self._note(member, opening)
        new: list[_Opening] = []
        for at in sorted(range(len(members)), key=lambda at: members[at].moved):
            member, opening = members[at], openings[at]
            joint = self._joined(member, opening, near)
            if joint is None:
                joint = Joint(_id_of(member), [])
                self.causes += 1.0
                new.append(opening)
            joint.members.append(member)
            joint.over = None
            opening.joint = joint
        self._gather(new, openings, near)
        for opening in openings:
            self._learn(opening, near)
        return [opening.joint for opening in openings if opening.joint is not None]

    def _note(self, member: Member, opening: _Opening) -> None:
        insort(self._recent, opening)
        for pair in member.labels.items():
            insort(self._by_label.setdefault(pair, []), opening)

    def _joined(self, member: Member, opening: _Opening, near: float) -> Joint | None:
        """Return the joint incident that most speaks for, None where chance explains all of them."""
        best: tuple[float, Joint, Because, dict[str, str]] | None = None
        for pair in member.labels.items():
            share = self.shares.share(pair)
            if share > COMMON:
                continue
            openings = self._by_label[pair]
            other = _nearest(openings, opening)
            if other is None or other.joint is None:
                continue
            gap = max(abs(other.moved - opening.moved), near)
            alike = _count(openings, opening.moved, 2 * gap) - 1
            expected = self.rate * share * gap
            chance = min(_at_least(1, expected), _at_least(alike, 4 * expected))
            if gap <= REACH and chance <= CHANCE and (best is None or chance < best[0]):
                best = chance, other.joint, "labels", dict([pair])
        if best is None and (usual := self._usual(opening, near)) is not None:
            best = 0.0, usual, "history", {}
        if best is None:
            return None
        _, joint, because, shared = best
        if joint.because == "alone":
            joint.because, joint.shared = because, shared
        return joint

    def _usual(self, opening: _Opening, near: float) -> Joint | None:
        """Return what a series belongs to that this one usually opens with."""
        for other in self._around(opening, near):
            if other.joint is not None and self.history.usual(opening.number, other.number):
                return other.joint
        return None

    def _gather(self, new: Sequence[_Opening], openings: Iterable[_Opening], near: float) -> None:
        """Make one of new joint incidents that share nothing, where more begin at once than chance explains.

        Each of them counts once, however many series it has, so that a rack that fails gathers nothing. Only those of
        this cycle are gathered: nobody has seen their ids yet.
        """
        if len(self._recent) < CROWD:
            return
        of: dict[int, list[_Opening]] = {}
        for each in openings:
            of.setdefault(id(each.joint), []).append(each)
        crowds: dict[tuple[int, int], Joint | None] = {}
        for opening in new:
            span = _range(self._recent, opening.moved, near)
            if span not in crowds:
                crowds[span] = self._crowd(*span, self.rate * 2 * near)
            crowd, moving = crowds[span], opening.joint
            if crowd is None or moving is None or crowd is moving or not _can_be_joined(crowd, opening.moved):
                continue
            crowd.members += moving.members
            crowd.because, crowd.shared = "time", {}
            self.causes -= 1.0
            for each in of[id(moving)]:
                each.joint = crowd

    def _crowd(self, first: int, last: int, expected: float) -> Joint | None:
        """Return the largest of the joint incidents that began in a time, None where so many come by chance."""
        around = {id(each.joint): each.joint for each in self._recent[first:last] if each.joint is not None}
        if len(around) < CROWD or _at_least(len(around), expected) > CROWD_CHANCE:
            return None
        return max(around.values(), key=_size)

    def _around(self, opening: _Opening, near: float) -> list[_Opening]:
        """Return other openings at the same time, the nearest _LEARNT_AT_ONCE before and after."""
        first, last = _range(self._recent, opening.moved, near)
        middle = bisect_left(self._recent, opening)
        some = self._recent[max(first, middle - _LEARNT_AT_ONCE) : min(last, middle + _LEARNT_AT_ONCE)]
        return [each for each in some if each.number != opening.number]

    def _learn(self, opening: _Opening, near: float) -> None:
        crowded = _count(self._recent, opening.moved, near) > _CROWDED
        self.history.learn(opening.number, set() if crowded else {each.number for each in self._around(opening, near)})

    def _forget(self, before: float) -> None:
        """Forget what opened so long ago that nothing joins it."""
        at = bisect_left(self._recent, _Opening(before, 0))
        if at * 2 < len(self._recent) or not at:  # seldom enough that it costs little for each
            return
        del self._recent[:at]
        for pair, openings in list(self._by_label.items()):
            del openings[: bisect_left(openings, _Opening(before, 0))]
            if not openings:
                del self._by_label[pair]


def _size(joint: Joint) -> int:
    return len(joint.members)


def _can_be_joined(joint: Joint, at: float) -> bool:
    return joint.over is None or at - joint.over <= REVIVES


def _nearest(openings: Sequence[_Opening], opening: _Opening) -> _Opening | None:
    """Return the opening of another series nearest in time that has been decided, and can still be joined."""
    at = bisect_left(openings, opening)
    found: list[_Opening] = []
    for some in (openings[max(at - 50, 0) : at][::-1], openings[at : at + 50]):
        for other in some:
            if (
                other.joint is not None
                and other.number != opening.number
                and _can_be_joined(other.joint, opening.moved)
            ):
                found.append(other)
                break
    return min(found, key=lambda other: abs(other.moved - opening.moved), default=None)


def _range(openings: Sequence[_Opening], moved: float, near: float) -> tuple[int, int]:
    return bisect_left(openings, _Opening(moved - near, 0)), bisect_left(
        openings, _Opening(math.nextafter(moved + near, math.inf), 0)
    )


def _count(openings: Sequence[_Opening], moved: float, near: float) -> int:
    first, last = _range(openings, moved, near)
    return last - first


def _at_least(count: int, mean: float) -> float:
    """Return the chance of at least `count` events where `mean` are expected (Poisson), from above.

    Chernoff's bound: exp(-mean) (e mean / count) ** count, where count exceeds mean.
    """
    if count <= mean:
        return 1.0
    if count == 1:
        return -math.expm1(-mean)
    return math.exp(min(count - mean + count * math.log(max(mean, 1e-300) / count), 0.0))


def _id_of(first: Member) -> str:
    """Return an id that is the same wherever the first incident is seen again, as after a loss of the file."""
    return hashlib.blake2b(f"{number_of(first.job, first.key)} {first.since:.0f}".encode(), digest_size=5).hexdigest()
