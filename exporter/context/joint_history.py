"""Which series usually move together: how often their incidents opened at the same time, of all that did."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from detectors.types import Key

MOST_PAIRS: Final = 30_000
"""Pairs that are remembered: those that opened together last; as many of those that did so once only."""
MOST_SERIES: Final = 20_000
OFTEN: Final = 2
"""Times that two have opened together before they are taken to belong together,"""
MOSTLY: Final = 0.5
"""and the least share of the openings of the one that opens less often."""


class SavedHistory(msgspec.Struct):
    """What is saved of the history."""

    opened: list[tuple[int, int]] = []
    together: list[tuple[int, int, int]] = []


def number_of(job: str, key: Key) -> int:
    """Return a number for a series, the same after a restart."""
    text = "\0".join((job, *(part for pair in sorted(key) for part in pair)))
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=7).digest())


class JointHistory:
    """Counts openings of series, and of pairs of them, each within a bound: what happened longest ago is forgotten.

    Pairs that have opened together once only, by chance mostly, do not displace the others.

    Parameters
    ----------
    saved : SavedHistory or None
    often : int
        Times that two have opened together before they are taken to belong together,
    mostly : float
        and the least share of the openings of the one that opens less often.
    """

    def __init__(self, saved: SavedHistory | None = None, often: int = OFTEN, mostly: float = MOSTLY) -> None:
        self._often, self._mostly = often, mostly
        saved = saved or SavedHistory()
        self._opened = OrderedDict(saved.opened)
        every = [((one, other), count) for one, other, count in saved.together]
        self._once = OrderedDict((pair, count) for pair, count in every if count == 1)
        self._again = OrderedDict((pair, count) for pair, count in every if count > 1)

    def saved(self) -> SavedHistory:
        """Return what is to be saved."""
        every = [*self._again.items(), *self._once.items()]
        return SavedHistory(list(self._opened.items()), [(one, other, count) for (one, other), count in every])

    def usual(self, one: int, other: int) -> bool:
        """Tell whether two series usually open together."""
        count = self._again.get(_pair(one, other), 0)
        fewest = min(self._opened.get(one, 0), self._opened.get(other, 0))
        return count >= self._often and count >= self._mostly * fewest

    def learn(self, opened: int, near: Iterable[int]) -> None:
        """Note that a series has opened, and which others did at the same time."""
        self._opened[opened] = self._opened.pop(opened, 0) + 1
        for other in near:
            if other == opened:
                continue
            pair = _pair(opened, other)
            if pair in self._again:
                self._again[pair] = self._again.pop(pair) + 1
            elif self._once.pop(pair, 0):
                self._again[pair] = 2
            else:
                self._once[pair] = 1
        _forget(self._opened, MOST_SERIES)
        _forget(self._once, MOST_PAIRS)
        _forget(self._again, MOST_PAIRS)


def _pair(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one < other else (other, one)


def _forget(counts: OrderedDict[Any, int], most: int) -> None:
    while len(counts) > most:
        counts.popitem(last=False)
