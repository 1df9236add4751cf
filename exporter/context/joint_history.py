"""Which series usually move together: how often their incidents opened at the same time, of all that did."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from detectors.types import Key

MOST_PAIRS: Final = 20_000
"""Pairs that are remembered: those that opened together last."""
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
    """Counts openings of series, and of pairs of them, each within a bound: what happened longest ago is forgotten."""

    def __init__(self, saved: SavedHistory | None = None) -> None:
        saved = saved or SavedHistory()
        self._opened = OrderedDict(saved.opened)
        self._together = OrderedDict(((one, other), count) for one, other, count in saved.together)

    def saved(self) -> SavedHistory:
        """Return what is to be saved."""
        pairs = [(one, other, count) for (one, other), count in self._together.items()]
        return SavedHistory(list(self._opened.items()), pairs)

    def usual(self, one: int, other: int) -> bool:
        """Tell whether two series usually open together."""
        count = self._together.get(_pair(one, other), 0)
        fewest = min(self._opened.get(one, 0), self._opened.get(other, 0))
        return count >= OFTEN and count >= MOSTLY * fewest

    def learn(self, opened: int, near: Iterable[int]) -> None:
        """Note that a series has opened, and which others did at the same time."""
        self._opened[opened] = self._opened.pop(opened, 0) + 1
        for other in near:
            if other != opened:
                pair = _pair(opened, other)
                self._together[pair] = self._together.pop(pair, 0) + 1
        _forget(self._opened, MOST_SERIES)
        _forget(self._together, MOST_PAIRS)


def _pair(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one < other else (other, one)


def _forget(counts: OrderedDict[Any, int], most: int) -> None:
    while len(counts) > most:
        counts.popitem(last=False)
