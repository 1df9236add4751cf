"""How many of all series have a label value: one that few share says much where they share it, `env` says nothing."""

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Final

import numpy as np

from detectors.types import Key

COUNT_EVERY: Final = 600.0
"""Seconds between two counts, at least: a pass over all labels, about 0.1 µs each."""
COMMON: Final = 0.5
"""Share of series from which on a label says nothing about the few that moved."""
SMALL: Final = 5
"""Series of a job up to which a label that all of them have may say something: the replicas of one service."""
_BUCKETS: Final = 2**19
_MASK: Final = _BUCKETS - 1


class LabelShares:
    """Counts series by label value, in all jobs and in each, within 4 MiB whatever there is.

    Values share buckets, so that one may seem to be more common than it is, never rarer.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(_BUCKETS, np.int32)
        self._in_jobs = np.zeros(_BUCKETS, np.int32)
        self._of: dict[str, tuple[Key, ...]] = {}
        self._counted: dict[str, tuple[Key, ...]] = {}
        self._at = -np.inf
        self.series = 0
        """How many there are."""

    def take(self, job: str, keys: tuple[Key, ...]) -> None:
        """Take the series that a job has now."""
        self._of[job] = keys

    def sizes(self) -> dict[str, int]:
        """Return how many series each job has."""
        return {job: len(keys) for job, keys in self._of.items()}

    def keep(self, jobs: Iterable[str]) -> None:
        """Forget all other jobs."""
        self._of = {job: self._of[job] for job in jobs if job in self._of}

    def count(self, now: float) -> None:
        """Count again at `now` (Unix seconds) if series came or went, not more often than every COUNT_EVERY."""
        if _same(self._of, self._counted) or (
            self._of.keys() == self._counted.keys() and 0 <= now - self._at < COUNT_EVERY
        ):
            return
        self._counts[:] = self._in_jobs[:] = 0
        for job, keys in self._of.items():
            pairs = np.fromiter(map(hash, chain.from_iterable(keys)), np.int64)
            self._counts += np.bincount(pairs & _MASK, minlength=_BUCKETS).astype(np.int32)
            self._in_jobs += np.bincount((pairs ^ hash(job)) & _MASK, minlength=_BUCKETS).astype(np.int32)
        self._counted, self._at = dict(self._of), now
        self.series = sum(map(len, self._of.values()))

    def share(self, pair: tuple[str, str]) -> float:
        """Return the share of all series that have this label value, at least that of one series."""
        if not self.series:
            return 1.0
        return min(max(int(self._counts[hash(pair) & _MASK]), 1) / self.series, 1.0)

    def tells(self, pair: tuple[str, str], *jobs: str) -> bool:
        """Tell whether a label value says something of series of some jobs: in one of them, and in all, few have it."""
        return self.share(pair) < COMMON and any(
            size <= SMALL or self._in_jobs[(hash(pair) ^ hash(job)) & _MASK] < COMMON * size
            for job in jobs
            if (size := len(self._counted.get(job, ())))
        )


def _same(now: Mapping[str, tuple[Key, ...]], before: Mapping[str, tuple[Key, ...]]) -> bool:
    return now.keys() == before.keys() and all(now[job] is before[job] for job in now)
