"""Which series usually move together, learnt from moves that open no incident: there are more of them to learn from."""

from collections import OrderedDict, deque
from typing import Final

import numpy as np

from detectors.types import Flags, Floats, Key
from exporter.context.joint_history import JointHistory, SavedHistory, number_of

LEAST: Final = 0.6
"""Score from which a sample counts as a move: it comes about three times a week by chance."""
A_MINUTE: Final = 2.0
"""Moves that are noted a minute over all jobs, the largest; as many as are expected by chance of 5,000 series."""
AT_ONCE: Final = 10.0
"""Moves that may be noted at once, if few were lately."""
OFTEN: Final = 3
"""Times that two must have moved together: a move is less than an incident,"""
MOSTLY: Final = 0.3
"""and the least share of the moves of the one that moves less often: most moves are by chance."""
LASTS: Final = 1800.0
"""Seconds of calm after which a series that moves again has another move."""
_CROWDED: Final = 30
"""Moves at once that teach nothing about who usually moves with whom."""
_MOST_SERIES: Final = 20_000
_LOOKED_AT: Final = 40


class SmallMoves:
    """Notes the largest scores below those of incidents, and which series have them at the same time.

    Memory and time are bounded whatever the number of series is: of many only the largest moves count.

    Parameters
    ----------
    saved : SavedHistory or None
    """

    def __init__(self, saved: SavedHistory | None = None) -> None:
        self.history = JointHistory(saved, OFTEN, MOSTLY)
        self._recent: deque[tuple[float, int]] = deque(maxlen=10 * _CROWDED)
        self._last: OrderedDict[int, float] = OrderedDict()
        self._room, self._until = AT_ONCE, -np.inf

    def take(self, job: str, keys: tuple[Key, ...], score: Floats, flag: Flags, now: float, near: float) -> None:
        """Take the scores, shape (E,), of a job at `now`; moves within `near` seconds are at the same time."""
        if now > self._until:
            self._room = min(self._room + A_MINUTE * min((now - self._until) / 60, AT_ONCE), AT_ONCE)
            self._until = now
        with np.errstate(invalid="ignore"):
            rows = np.flatnonzero((score > LEAST) & ~flag)
        if not len(rows):
            return
        if len(rows) > _LOOKED_AT:
            rows = rows[np.argpartition(-score[rows], _LOOKED_AT)[:_LOOKED_AT]]
        for row in rows[np.argsort(-score[rows], kind="stable")].tolist():
            number = number_of(job, keys[row])
            calm = now - self._last.get(number, -np.inf)
            if calm > LASTS and self._room < 1:
                return
            self._last[number] = now
            self._last.move_to_end(number)
            if calm > LASTS:
                self._room -= 1
                self.note(number, now, near)
        while len(self._last) > _MOST_SERIES:
            self._last.popitem(last=False)

    def note(self, number: int, now: float, near: float) -> None:
        """Note that a series has moved, be it a small move or an incident that opens."""
        others = {other for at, other in self._recent if abs(now - at) <= near}
        self.history.learn(number, set() if len(others) > _CROWDED else others)
        self._recent.append((now, number))
