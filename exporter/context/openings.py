"""Incidents that have opened, by when their series moved: which is nearest, how many in a time, how many by chance."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from exporter.context.joint import Joint

REVIVES: Final = 300.0
"""Seconds for which a joint incident that is over can be joined: it may only have paused."""


@dataclass(slots=True, eq=False)
class Opening:
    """An incident that has just opened, as the others are compared with it."""

    moved: float
    number: int = 0
    job: str = ""
    joint: Joint | None = None

    def __lt__(self, other: "Opening") -> bool:
        return self.moved < other.moved


def can_be_joined(joint: Joint, at: float) -> bool:
    """Tell whether something that moved at a time (Unix seconds) can still join."""
    return joint.over is None or at - joint.over <= REVIVES


def nearest(openings: Sequence[Opening], opening: Opening) -> Opening | None:
    """Return the opening of another series nearest in time that has been decided, and can still be joined."""
    at = bisect_left(openings, opening)
    found: list[Opening] = []
    for some in (openings[max(at - 50, 0) : at][::-1], openings[at : at + 50]):
        for other in some:
            if other.joint is not None and other.number != opening.number and can_be_joined(other.joint, opening.moved):
                found.append(other)
                break
    return min(found, key=lambda other: abs(other.moved - opening.moved), default=None)


def between(openings: Sequence[Opening], moved: float, near: float) -> tuple[int, int]:
    """Return the first, and the one after the last, of the openings within `near` seconds of a time."""
    return bisect_left(openings, Opening(moved - near)), bisect_left(
        openings, Opening(math.nextafter(moved + near, math.inf))
    )


def how_many(openings: Sequence[Opening], moved: float, near: float) -> int:
    """Return how many openings are within `near` seconds of a time."""
    first, last = between(openings, moved, near)
    return last - first


def at_least(count: int, mean: float) -> float:
    """Return the chance of at least `count` events where `mean` are expected (Poisson), from above.

    Chernoff's bound: exp(-mean) (e mean / count) ** count, where count exceeds mean.
    """
    if count <= mean:
        return 1.0
    if count == 1:
        return -math.expm1(-mean)
    return math.exp(min(count - mean + count * math.log(max(mean, 1e-300) / count), 0.0))
