"""Joint incidents: which incidents of all jobs are one, because they began together and share labels or usually do."""

import hashlib
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from typing import Final

from detectors.units import HOUR, WEEK
from exporter.context.joint import Because, Joint, Member
from exporter.context.joint_history import JointHistory, number_of
from exporter.context.label_shares import LabelShares
from exporter.context.openings import Opening, at_least, between, can_be_joined, how_many, nearest
from exporter.context.small_moves import SmallMoves

TOGETHER: Final = 120.0
"""Seconds, at least, between the first movements of incidents that count as begun at the same time; two steps else."""
REACH: Final = HOUR
"""Seconds after which nothing is joined to an incident any more, whatever they share."""
CHANCE: Final = 0.02
"""Two that share a label are one where fewer than so many others with it would have opened by chance in that time."""
CROWD: Final = 5
"""Incidents that open together without a label in common are one from this number on,"""
CROWD_CHANCE: Final = 1e-6
"""and where so many come by chance less often than this."""
MOST_OPEN: Final = 10_000
"""Open incidents that are grouped; more are told one by one."""
_LEARNT_AT_ONCE: Final = 20
"""Others that a series is said to have opened with: the nearest."""
_CROWDED: Final = 100
"""Openings at once that teach nothing about who usually opens with whom: it was one large outage."""
_PRIOR: Final = WEEK
"""Seconds that the number of openings expected by chance is worth, against those seen."""


class Joiner:
    """Decides which incidents are one. An incident never changes from one to another: alerts carry the id.

    A label tells that incidents are one where few series have it, compared with how long after each other they moved:
    fewer than CHANCE of the others with it would have opened in that time by chance. So 40 services of a rack may take
    minutes, and a region of thousands is one only if many of it move at once. Two that share nothing are one where
    they have opened or moved together before (see JointHistory and SmallMoves). Each opening costs a search for each of
    its labels.

    Parameters
    ----------
    shares : LabelShares
    history : JointHistory
        What has opened together.
    small : SmallMoves
        What has moved together without opening.
    """

    def __init__(self, shares: LabelShares, history: JointHistory, small: SmallMoves) -> None:
        self.shares, self.history, self.small = shares, history, small
        self.expected = 0.0
        """Openings a second that come by chance in all series."""
        self.replicas = 1
        """How many share the entities: their openings are heard of, too."""
        self.causes, self.watched = 0.0, 0.0
        """Joint incidents that were seen, in so many seconds."""
        self._by_label: dict[tuple[str, str], list[Opening]] = {}
        self._recent: list[Opening] = []

    @property
    def rate(self) -> float:
        """Openings a second that have nothing to do with each other, over all series."""
        return self.replicas * (self.expected * _PRIOR + self.causes) / (_PRIOR + self.watched)

    def remember(self, joints: Iterable[Joint]) -> None:
        """Let what opens be joined to what was open before a restart."""
        for joint in joints:
            for each in joint.members:
                self._note(each, Opening(each.moved, number_of(each.job, each.key), each.job, joint))

    def open(self, members: Sequence[Member], step: float) -> list[Joint]:
        """Return what each of some incidents, which have opened in one cycle of a job, belongs to.

        Parameters
        ----------
        members : sequence of Member
        step : float
            Seconds between two samples of the job.
        """
        near = max(TOGETHER, 2 * step)
        openings = [Opening(each.moved, number_of(each.job, each.key), each.job) for each in members]
        self._forget(min(each.moved for each in members) - REACH)
        for member, opening in zip(members, openings, strict=True):
            self._note(member, opening)
        new: list[Opening] = []
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

    def hear(self, member: Member, near: float) -> tuple[Opening, Joint | None]:
        """Take in an opening that another replica has seen.

        Returns it, still without a joint incident, and that which it belongs to as far as we know, None for one of its
        own.
        """
        opening = Opening(member.moved, number_of(member.job, member.key), member.job)
        self._note(member, opening)
        return opening, self._joined(member, opening, near)

    def replace(self, joint: Joint, other: Joint) -> None:
        """Let what opens be joined to another joint incident, of which one has become part."""
        for each in self._recent:
            if each.joint is joint:
                each.joint = other

    def _note(self, member: Member, opening: Opening) -> None:
        insort(self._recent, opening)
        for pair in member.labels.items():
            insort(self._by_label.setdefault(pair, []), opening)

    def _joined(self, member: Member, opening: Opening, near: float) -> Joint | None:
        """Return the joint incident that most speaks for, None where chance explains all of them."""
        best: tuple[float, Joint, Because, dict[str, str]] | None = None
        for pair in member.labels.items():
            openings = self._by_label[pair]
            other = nearest(openings, opening)
            if other is None or other.joint is None or not self.shares.tells(pair, opening.job, other.job):
                continue
            share = self.shares.share(pair)
            gap = max(abs(other.moved - opening.moved), near)
            alike = how_many(openings, opening.moved, 2 * gap) - 1
            expected = self.rate * share * gap
            chance = min(at_least(1, expected), at_least(alike, 4 * expected))
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

    def _usual(self, opening: Opening, near: float) -> Joint | None:
        """Return what a series belongs to that this one usually opens with."""
        for other in self._around(opening, near):
            usual = any(each.usual(opening.number, other.number) for each in (self.history, self.small.history))
            if other.joint is not None and usual:
                return other.joint
        return None

    def _gather(self, new: Sequence[Opening], openings: Iterable[Opening], near: float) -> None:
        """Make one of new joint incidents that share nothing, where more begin at once than chance explains.

        Each of them counts once, however many series it has, so that a rack that fails gathers nothing. Only those of
        this cycle are gathered: nobody has seen their ids yet.
        """
        if len(self._recent) < CROWD:
            return
        of: dict[int, list[Opening]] = {}
        for each in openings:
            of.setdefault(id(each.joint), []).append(each)
        crowds: dict[tuple[int, int], Joint | None] = {}
        for opening in new:
            span = between(self._recent, opening.moved, near)
            if span not in crowds:
                crowds[span] = self._crowd(*span, self.rate * 2 * near)
            crowd, moving = crowds[span], opening.joint
            if crowd is None or moving is None or crowd is moving or not can_be_joined(crowd, opening.moved):
                continue
            crowd.members += moving.members
            crowd.because, crowd.shared = "time", {}
            self.causes -= 1.0
            for each in of[id(moving)]:
                each.joint = crowd

    def _crowd(self, first: int, last: int, expected: float) -> Joint | None:
        """Return the largest of the joint incidents that began in a time, None where so many come by chance."""
        around = {id(each.joint): each.joint for each in self._recent[first:last] if each.joint is not None}
        if len(around) < CROWD or at_least(len(around), expected) > CROWD_CHANCE:
            return None
        return max(around.values(), key=lambda joint: len(joint.members))

    def _around(self, opening: Opening, near: float) -> list[Opening]:
        """Return other openings at the same time, the nearest _LEARNT_AT_ONCE before and after."""
        first, last = between(self._recent, opening.moved, near)
        middle = bisect_left(self._recent, opening)
        some = self._recent[max(first, middle - _LEARNT_AT_ONCE) : min(last, middle + _LEARNT_AT_ONCE)]
        return [each for each in some if each.number != opening.number]

    def _learn(self, opening: Opening, near: float) -> None:
        self.small.note(opening.number, opening.moved, near)
        crowded = how_many(self._recent, opening.moved, near) > _CROWDED
        self.history.learn(opening.number, set() if crowded else {each.number for each in self._around(opening, near)})

    def _forget(self, before: float) -> None:
        """Forget what opened so long ago that nothing joins it."""
        at = bisect_left(self._recent, Opening(before))
        if at * 2 < len(self._recent) or not at:  # seldom enough that it costs little for each
            return
        del self._recent[:at]
        for pair, openings in list(self._by_label.items()):
            del openings[: bisect_left(openings, Opening(before))]
            if not openings:
                del self._by_label[pair]


def _id_of(first: Member) -> str:
    """Return an id that is the same wherever the first incident is seen again, as after a loss of the file."""
    return hashlib.blake2b(f"{number_of(first.job, first.key)} {first.since:.0f}".encode(), digest_size=5).hexdigest()
