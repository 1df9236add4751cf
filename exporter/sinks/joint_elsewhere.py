"""What is heard of incidents that other replicas judge: one cause has one id in all of them."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from detectors.types import Key
from exporter.context.joint import Joint, Member
from exporter.context.joint_incidents import CROWD, Joiner
from exporter.sinks.joint_book import JointBook

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
    replica: str = ""
    """Which replica publishes it, as Prometheus knows it; "" where that is not known."""


class Elsewhere:
    """Takes in what is heard of. Not safe to use from several threads.

    Parameters
    ----------
    book : JointBook
    joiner : Joiner
    near : callable taking a job
        Returns the seconds within which its incidents begin at the same time.
    """

    def __init__(self, book: JointBook, joiner: Joiner, near: Callable[[str], float]) -> None:
        self._book, self._joiner, self._near = book, joiner, near

    def hear(self, heard: Sequence[Heard], replicas: int, now: float) -> None:
        """Take in the open incidents of all other replicas, as they publish them at `now` (Unix seconds).

        What is one incident with ours belongs to the same joint incident; of two ids all replicas choose that of the
        one that moved first, unless alerts with the other have been sent.
        """
        book = self._book
        self._joiner.replicas = replicas
        there = {(each.job, each.key): each for each in heard if each.key not in book.of.get(each.job, {})}
        for name in book.elsewhere.keys() - there.keys():
            book.end(book.elsewhere.pop(name), now)
        room = book.room
        new = [there[name] for name in there.keys() - book.elsewhere.keys()]
        new = sorted(new, key=lambda each: (each.moved, each.joint, each.key))[: max(room, 0)]
        if not new:
            return
        self._joiner.shares.count(now)
        by_id = {joint.id: joint for joint in book.still_open()}
        by_id |= {there[name].joint: joined[1] for name, joined in book.elsewhere.items()}
        sizes = Counter(each.joint for each in there.values())
        for each in new:
            self._take(each, by_id, now, in_crowd=sizes[each.joint] >= CROWD)

    def _take(self, heard: Heard, by_id: dict[str, Joint], now: float, in_crowd: bool) -> None:
        """Take in one incident of another replica; one of a crowd belongs to a crowd of ours of the same time."""
        labels, moved, near = dict(heard.key), heard.moved, self._near(heard.job)
        member = Member(heard.job, labels, moved, moved, elsewhere=True, replica=heard.replica)
        opening, ours = self._joiner.hear(member, near)
        if ours is None and in_crowd:
            crowds = (each for each in by_id.values() if each.because == "time" and each.members)
            ours = next((each for each in crowds if abs(each.first.moved - moved) <= near), None)
        known = by_id.get(heard.joint)
        joint = known or ours or Joint(heard.joint, [])
        if known is not None and ours is not None and known is not ours:
            joint = self._unite(known, ours, now)
            by_id[heard.joint] = by_id[joint.id] = joint
        elif joint.members and (moved, heard.joint) < (joint.first.moved, joint.id):
            self._rename(joint, heard.joint, now)
        by_id.setdefault(heard.joint, joint)
        joint.members.append(member)
        joint.over = None
        opening.joint = joint
        self._book.add(heard.key, member, joint)

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
        self._book.merge(strange, kept)
        self._joiner.replace(strange, kept)
        return kept

    def _rename(self, joint: Joint, name: str, now: float) -> None:
        """Give a joint incident the id that another replica has given it, while no alert with ours was sent."""
        mine = [each for each in joint.members if not each.elsewhere]
        if any(each.alert for each in mine) and now - min(each.since for each in mine) > RENAMED_WITHIN:
            return
        self._book.rename(joint, name)
