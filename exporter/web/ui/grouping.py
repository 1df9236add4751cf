"""Which open incidents belong together: those that began at the same time, and those of the same thing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from detectors.types import Key

TOGETHER: Final = 120.0
"""Seconds, at least, between the beginnings of incidents that count as begun at the same time."""
SAME_THING: Final = 3600.0
"""Seconds between the beginnings of incidents that have their labels in common."""
Reason = Literal["alone", "time", "labels"]


@dataclass(slots=True)
class Begun:
    """An incident: its job, series, beginning (Unix seconds) and the job's step (seconds)."""

    job: str
    key: Key
    since: float
    step: float


@dataclass(slots=True)
class Grouped:
    """Positions of incidents that belong together, in the order in which they came, and why they do."""

    members: list[int]
    because: Reason = "alone"
    first: float = 0.0
    labels: list[dict[str, str]] = field(default_factory=list)


def grouped(incidents: Sequence[Begun]) -> list[Grouped]:
    """Return the groups, each where its first member is. Every incident is in one group.

    An incident joins the first group whose first member began within two steps (TOGETHER at least) of it. Else it joins
    one that began within an hour of it and has a member of another job with the same labels, as far as both have them;
    one label at least. The distance is to the first member, so that a group cannot grow for ever.
    """
    groups: list[Grouped] = []
    for at, each in enumerate(incidents):
        labels = dict(each.key)
        joined = _joined(groups, incidents, each, labels)
        if joined is None:
            groups.append(Grouped([at], first=each.since, labels=[labels]))
        else:
            joined.members.append(at)
            joined.labels.append(labels)
    return groups


def _joined(
    groups: Sequence[Grouped], incidents: Sequence[Begun], each: Begun, labels: dict[str, str]
) -> Grouped | None:
    for group in groups:
        if abs(group.first - each.since) <= max(TOGETHER, 2 * each.step):
            group.because = "time" if group.because == "alone" else group.because
            return group
    for group in groups:
        if abs(group.first - each.since) > SAME_THING:
            continue
        of_others = (
            theirs
            for theirs, member in zip(group.labels, group.members, strict=True)
            if incidents[member].job != each.job
        )
        if any(_same(labels, theirs) for theirs in of_others):
            group.because = "labels" if group.because == "alone" else group.because
            return group
    return None


def _same(labels: dict[str, str], others: dict[str, str]) -> bool:
    common = labels.keys() & others.keys()
    return bool(common) and all(labels[name] == others[name] for name in common)


def common(labels: Sequence[dict[str, str]]) -> dict[str, str]:
    """Return the labels that all have."""
    first, *others = labels
    return {name: value for name, value in first.items() if all(each.get(name) == value for each in others)}
