"""Which incident belongs to which joint incident: those that are open, and the newest of those that are over."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from detectors.types import Key
from exporter.context.joint import Joint, Member
from exporter.context.joint_incidents import MOST_OPEN

MOST_OVER: Final = 500
"""Joint incidents that are over and still known: those of several series, the newest."""
Joined = tuple[Member, Joint]


class JointBook:
    """Keeps the members of joint incidents, and counts which are open. Not safe to use from several threads."""

    def __init__(self) -> None:
        self.of: dict[str, dict[Key, Joined]] = {}
        """By job and series, what this exporter judges: open, or just ended."""
        self.elsewhere: dict[tuple[str, Key], Joined] = {}
        """By job and series, what other replicas judge: open."""
        self.over: deque[Joint] = deque(maxlen=MOST_OVER)
        self.changed = False
        """Whether there is something to be saved."""
        self.unpublished = False
        """Whether something has opened or ended of which the metrics do not tell yet."""
        self._open: dict[str, int] = {}  # open incidents by the id of what they belong to

    @property
    def room(self) -> int:
        """How many incidents more can be grouped."""
        return MOST_OPEN - sum(self._open.values())

    def open_of(self, joint: Joint) -> int:
        """Return how many incidents of a joint incident are open."""
        return self._open[joint.id]

    def still_open(self) -> list[Joint]:
        """Return the joint incidents of which an incident of ours is open at least."""
        found = {joint.id: joint for mine in self.of.values() for _, joint in mine.values() if joint.over is None}
        return list(found.values())

    def find(self, job: str, key: Key, since: float) -> Joint | None:
        """Return what the incident of a series that began at `since` (Unix seconds) belongs or belonged to."""
        wanted = tuple(sorted(key))
        found = self.of.get(job, {}).get(wanted)
        if found is not None and abs(found[0].since - since) < 1.0:
            return found[1]
        for joint in self.over:
            for each in joint.members:
                if each.job == job and abs(each.since - since) < 1.0 and each.key == wanted:
                    return joint
        return None

    def restore(self, still_open: Sequence[Joint], over: Iterable[Joint]) -> None:
        """Take over what was saved."""
        self.over.extend(over)
        for joint in still_open:
            for each in joint.members:
                if each.over is None:
                    if each.elsewhere:
                        self.elsewhere[each.job, each.key] = each, joint
                    else:
                        self.of.setdefault(each.job, {})[each.key] = each, joint
                    self._count(joint)

    def add(self, key: Key, member: Member, joint: Joint) -> None:
        """Take in an incident of a series that has opened and is a member of `joint` now."""
        if member.elsewhere:
            self.elsewhere[member.job, key] = member, joint
        else:
            self.of.setdefault(member.job, {})[key] = member, joint
        if joint in self.over:
            self.over.remove(joint)
        self._count(joint)
        self.changed = self.unpublished = True

    def _count(self, joint: Joint, incidents: int = 1) -> None:
        self._open[joint.id] = self._open.get(joint.id, 0) + incidents

    def end(self, joined: Joined, now: float) -> None:
        """Let an incident be over at `now` (Unix seconds), and with the last one what it belongs to."""
        member, joint = joined
        member.over = now
        self.changed = self.unpublished = True
        self._open[joint.id] -= 1
        if not self._open[joint.id]:
            del self._open[joint.id]
            joint.over = now
            if joint.is_joint and joint not in self.over:
                self.over.append(joint)

    def rename(self, joint: Joint, name: str) -> None:
        """Give a joint incident another id."""
        self._open[name] = self._open.get(name, 0) + self._open.pop(joint.id, 0)
        joint.id = name

    def merge(self, joint: Joint, kept: Joint) -> None:
        """Let what belongs to `joint`, of which nobody here has a member, belong to another one."""
        kept.members += joint.members
        for name, joined in self.elsewhere.items():
            if joined[1] is joint:
                self.elsewhere[name] = joined[0], kept
        self._count(kept, self._open.pop(joint.id, 0) if joint.id != kept.id else 0)


def no_joint_incidents(_job: str) -> dict[Key, Joined]:
    """Return that nothing is known of joint incidents."""
    return {}


def copied(joint: Joint) -> Joint:
    """Return a joint incident that does not grow with this one."""
    return msgspec.structs.replace(joint, members=list(joint.members))
