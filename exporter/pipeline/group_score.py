"""When more entities of a group are in trouble at once than chance and the group's history explain."""

import math
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import KAPPA, MEMORY
from detectors.entity_state import Column, EntityState
from detectors.types import Flags, Floats, Key, State
from detectors.units import WEEK
from exporter.config.sections.job import JobConfig
from exporter.pipeline.chance import share_in_trouble

CHANCE_OPEN: Final = 0.001
"""Share of the time in which an entity with one chance incident a week has it open: ten minutes a week."""
PRIOR_WEEKS: Final = 2.0
"""Weight of the prior in weeks of the group's own history."""
BLOCK: Final = 3600.0
"""Seconds whose largest count is one event of the history."""
_LONGEST: Final = 24
"""Blocks after which a trouble that lasts is an event, and begins again."""
_IN_A_BLOCK: Final = 12
"""Incidents of five minutes that fit into a block, one after the other."""
_BINS: Final = 20  # powers of two, up to half a million entities


class GroupScorer:
    """Scores groups of entities by how rare their number of open incidents is; above 1 is rarer than once a week.

    The rate per week of at least k open at once is a posterior of independent chance incidents (a binomial tail, worth
    two weeks) and the hourly maxima the group itself has seen; a trouble, score above 1, counts once however long it
    lasts, or it would hide the next. One open entity alone is never a group in trouble.

    Parameters
    ----------
    labels : sequence of str
        Labels whose values make a group.
    false_alarms : float
        Incidents per week and entity that open by chance.
    """

    def __init__(self, labels: Sequence[str], false_alarms: float) -> None:
        self._labels, self._false_alarms = tuple(labels), false_alarms
        self._keys: tuple[Key, ...] = ()
        self._group_of, self._size = np.empty(0, np.int64), np.empty(0)
        self._roster = EntityState(
            {"seen": Column(0.0, (_BINS,)), "weeks": Column(0.0), "most": Column(0.0), "block": Column(-math.inf)}
        )

    @classmethod
    def of(cls, job: JobConfig) -> "GroupScorer":
        """Return the scorer of a configured job's groups."""
        return cls(job.group, job.false_alarms)

    def reconfigure(self, job: JobConfig) -> None:
        """Score by the settings of `job` from the next sample on; the histories of the groups stay."""
        self._false_alarms = job.false_alarms

    def state(self) -> State:
        """Return the histories of the groups."""
        return self._roster.state()

    def restore(self, state: State) -> None:
        """Take over what `state()` returned. Raises ValueError when it does not fit."""
        self._roster.restore(state)

    def score(
        self, keys: tuple[Key, ...], flag: Flags, now: float, elapsed: float, shown: Flags | None = None
    ) -> dict[Key, float]:
        """Return anomaly_group_score by group labels, for the flags of the sample at `now` (Unix seconds).

        What is learnt of a group are its flags; `shown` are those of them that its score is about, None: all.
        """
        if not self._labels:
            return {}
        self._align(keys)
        opened, r = self._opened(flag), self._roster
        score = self._score(opened)
        seen = score if shown is None else self._score(self._opened(shown))
        self._learn(opened, score > 1, now, elapsed)
        return dict(zip(r.keys, seen.tolist(), strict=True))

    def shared(self, keys: tuple[Key, ...], flag: Flags) -> Floats | None:
        """Return what share of the others of its group are open with each open incident, shape (E,), 0 for none open.

        None where the job has no groups.
        """
        if not self._labels:
            return None
        self._align(keys)
        share: Floats = np.zeros(len(keys), np.float32)
        rows = np.flatnonzero(flag)
        if len(rows):
            group = self._group_of[rows]
            share[rows] = share_in_trouble(self._opened(flag)[group], self._size[group])
        return share

    def _opened(self, flag: Flags) -> Floats:
        """Return how many are open in each group."""
        groups = len(self._roster.keys)
        return np.bincount(self._group_of, weights=flag.astype(np.float64), minlength=groups).astype(np.float64)

    def _score(self, opened: Floats) -> Floats:
        r, size = self._roster, self._size
        at_least = np.cumsum(r["seen"][:, ::-1], axis=1)[:, ::-1]
        worse = np.take_along_axis(at_least, _bin(opened)[:, None], axis=1)[:, 0]
        rate = (PRIOR_WEEKS * self._chance(size, opened) + worse) / (PRIOR_WEEKS + r["weeks"])
        score = np.maximum(rate, 1e-30) ** (-1 / KAPPA)
        found: Floats = np.where(opened >= 2, score, np.minimum(score, 1.0))
        return found

    def _align(self, keys: tuple[Key, ...]) -> None:
        if keys is self._keys:
            return
        names, self._group_of = grouped(keys, self._labels)
        self._size = np.bincount(self._group_of, minlength=len(names)).astype(np.float64)
        self._roster.align(names)
        self._keys = keys

    def _chance(self, size: Floats, opened: Floats) -> Floats:
        """Return in how many hours a week at least `opened` of `size` independent entities are open at some moment."""
        from scipy.special import betainc  # half a second of start-up, only for jobs with groups

        some = np.maximum(opened, 1.0)  # binomial tail P(X >= k) = I_p(k, n - k + 1)
        tail: Floats = np.where(
            opened > 0, betainc(some, size - some + 1, min(CHANCE_OPEN * self._false_alarms, 0.5)), 1.0
        )
        # k incidents of five minutes meet for a k-th of them: so many chances has an hour
        return WEEK / BLOCK * np.minimum(tail * np.where(opened > 0, _IN_A_BLOCK * some, 1.0), 1.0)

    def _learn(self, opened: Floats, trouble: Flags, now: float, elapsed: float) -> None:
        r = self._roster
        block = np.floor(now / BLOCK)
        ended = np.isfinite(r["block"]) & (r["block"] != block) & (~trouble | (block - r["block"] >= _LONGEST))
        r["seen"] = r["seen"] * math.exp(-elapsed / MEMORY)
        r["seen"][np.flatnonzero(ended), _bin(r["most"][ended])] += 1.0
        r["weeks"] = r["weeks"] * math.exp(-elapsed / MEMORY) + elapsed / WEEK
        fresh = ended | ~np.isfinite(r["block"])
        r["most"] = np.where(fresh, opened, np.maximum(r["most"], opened))
        r["block"] = np.where(fresh, block, r["block"])


def grouped(keys: Iterable[Key], labels: Sequence[str]) -> tuple[tuple[Key, ...], NDArray[np.int64]]:
    """Return the labels of each group, and the number of the group of each entity, shape (E,)."""
    # A pass over the entities, about 1 µs each, only in cycles in which some came or went.
    wanted = frozenset(labels)
    names = [tuple(pair for pair in key if pair[0] in wanted) for key in keys]
    index = {name: at for at, name in enumerate(dict.fromkeys(names))}
    return tuple(index), np.array([index[name] for name in names], np.int64)


def _bin(count: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """Return the histogram bin of a count: 0, 1, 2-3, 4-7 and so on."""
    return np.minimum(np.ceil(np.log2(count + 1)).astype(np.int64), _BINS - 1)
