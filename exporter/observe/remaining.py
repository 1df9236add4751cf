"""How long something will still take, by how fast it was lately."""

from collections import deque
from typing import Final

_LATELY: Final = 120.0
"""Seconds looked back on: long enough for pauses, short enough for a pace that changes."""
_LEAST: Final = 1.0
"""Seconds before anything is said."""


class Remaining:
    """Estimates the seconds that are left.

    Examples
    --------
    >>> remaining = Remaining()
    >>> [remaining.seen(0.0, at=0.0), remaining.seen(0.25, at=10.0)]
    [None, 30.0]
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()

    def seen(self, done: float, at: float) -> float | None:
        """Take in which share is `done`, 0 to 1, at a time in seconds; return the seconds that are left.

        None: too little is known.
        """
        if done >= 1:
            return 0.0
        while len(self._seen) > 2 and at - self._seen[0][0] > _LATELY:
            self._seen.popleft()
        self._seen.append((at, done))
        began, before = self._seen[0]
        if at - began < _LEAST or done <= before:
            return None
        return (1 - done) * (at - began) / (done - before)
