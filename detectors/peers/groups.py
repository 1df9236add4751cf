"""Groups of entities, and median and spread of the others of each group at one moment."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.rolling_baseline import MAD_TO_SIGMA
from detectors.types import Floats, Key

LEAST: Final = 2
"""Others that there must be: of two entities that differ nobody knows which one is strange."""
_AT_ONCE: Final = 8192
"""Values that are sorted at once: what comes of it stays in the processor's cache."""
_SMALL: Final = np.array([np.nan, np.nan, 1.196, 1.495, 1.363, 1.206, 1.2, 1.14, 1.129, 1.107])
"""What makes the median absolute deviation of so few samples as wide as that of many (Croux & Rousseeuw 1992)."""


@dataclass(frozen=True, slots=True, eq=False)
class Others:
    """The others of every entity at one moment, shape (E, C); NaN where there are fewer than LEAST.

    Parameters
    ----------
    middle : Floats
        Their median.
    spread : Floats
        Their standard deviation, from the median absolute deviation.
    count : Floats
        How many of them have a value.
    """

    middle: Floats
    spread: Floats
    count: Floats


class Groups:
    """Which entities are peers: those with equal values of some labels. One that lacks such a label has none.

    Groups of about the same size are looked at together, filled up with blanks: two sorts of all values take 10 ms for
    100,000 entities, whatever the groups.

    Parameters
    ----------
    keys : sequence of Key, length E
    labels : sequence of str
        None of them: all entities are one group.

    Examples
    --------
    >>> groups = Groups([(("pod", pod),) for pod in "abcd"], ())
    >>> groups.others(np.array([[1.0], [2.0], [3.0], [50.0]])).middle[:, 0].tolist()
    [3.0, 3.0, 2.0, 2.0]
    """

    def __init__(self, keys: Sequence[Key], labels: Sequence[str]) -> None:
        # One pass over the entities, about 1 µs each, only in cycles in which some came or went.
        wanted = frozenset(labels)
        numbers: dict[Key, int] = {}
        self.group_of = np.full(len(keys), -1, np.intp)
        """Number of the group of each entity, shape (E,); -1 for those without one."""
        for row, key in enumerate(keys):
            own = tuple(pair for pair in key if pair[0] in wanted)
            if len(own) == len(wanted):
                self.group_of[row] = numbers.setdefault(own, len(numbers))
        self.sizes = np.bincount(self.group_of[self.group_of >= 0], minlength=len(numbers))
        """Entities of each group."""
        self._entities = len(keys)
        self._layouts = list(self._laid_out())

    @property
    def alone(self) -> int:
        """How many entities have too few peers, or none, to be judged."""
        return self._entities - int(self.sizes[self.sizes > LEAST].sum())

    def _laid_out(self) -> list[NDArray[np.intp]]:
        """Return the rows of the entities, groups of about the same size in one array (groups, size).

        Blanks are row E. Groups that are too small are left out.
        """
        by_group = np.argsort(self.group_of, kind="stable")
        by_group = by_group[np.count_nonzero(self.group_of < 0) :]
        first = np.cumsum(self.sizes) - self.sizes
        padded, found = _padded(self.sizes), []
        for size in np.unique(padded[self.sizes > LEAST]):
            chosen = np.flatnonzero((padded == size) & (self.sizes > LEAST))
            place = np.arange(size)
            there = place < self.sizes[chosen, None]
            at = np.minimum(first[chosen, None] + place, len(by_group) - 1)
            rows = np.where(there, by_group[at], self._entities)
            some = max(_AT_ONCE // int(size), 1)
            found += [rows[at : at + some] for at in range(0, len(rows), some)]
        return found

    def others(self, values: Floats) -> Others:
        """Return median and spread of the others of each entity, of which `values`, shape (E, C), are given.

        The spread is taken around the median of the whole group. An entity without a value has others too.
        """
        shape = values.shape[1], self._entities + 1
        middle, spread, count = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape)
        blank = self._blank(values)
        for rows in self._layouts:
            own = blank[:, rows]
            ordered = np.sort(own, axis=2)
            many = np.isfinite(ordered).sum(axis=2)
            whole = _median(ordered, many)
            others = many[:, :, None] - np.isfinite(own)
            middle[:, rows] = _without(own, ordered, many)
            away = np.abs(own - whole[:, :, None])
            wide = _without(away, np.sort(away, axis=2), many)
            spread[:, rows] = MAD_TO_SIGMA * wide * _of_few(others)
            count[:, rows] = others
        few = count < LEAST
        middle[few] = spread[few] = np.nan
        return Others(*(np.ascontiguousarray(each[:, :-1].T) for each in (middle, spread, count)))

    def median(self, values: Floats) -> Floats:
        """Return the median of each entity's group, its own value included, shape (E, C); NaN where there is none."""
        found = np.full((values.shape[1], self._entities + 1), np.nan)
        blank = self._blank(values)
        for rows in self._layouts:
            ordered = np.sort(blank[:, rows], axis=2)
            found[:, rows] = _median(ordered, np.isfinite(ordered).sum(axis=2))[:, :, None]
        return np.ascontiguousarray(found[:, :-1].T)

    def _blank(self, values: Floats) -> Floats:
        """Return the values by channel, with a blank behind them."""
        found = np.full((values.shape[1], len(values) + 1), np.nan)
        found[:, :-1] = values.T
        return found


def _padded(sizes: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the sizes rounded up to 1, 1.25, 1.5 or 1.75 times a power of two: at most a quarter are blanks."""
    quarter = np.maximum(2 ** np.floor(np.log2(np.maximum(sizes, 1))).astype(np.intp) // 4, 1)
    return np.asarray(-(-sizes // quarter) * quarter)


def _of_few(count: NDArray[np.intp]) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = np.where(count < len(_SMALL), _SMALL[np.clip(count, 0, len(_SMALL) - 1)], count / (count - 0.8))
    return found


def _at(ordered: Floats, place: NDArray[np.intp]) -> Floats:
    found: Floats = np.take_along_axis(ordered, np.clip(place, 0, ordered.shape[2] - 1)[:, :, None], axis=2)
    return found


def _median(ordered: Floats, count: NDArray[np.intp]) -> Floats:
    """Return the medians of sorted rows, NaN last, that have so many values, shape of `count`."""
    low, high = _at(ordered, (count - 1) // 2), _at(ordered, count // 2)
    found: Floats = (0.5 * low + 0.5 * high)[:, :, 0]  # halved before the sum, which could overflow
    return np.where(count > 0, found, np.nan)


def _without(own: Floats, ordered: Floats, count: NDArray[np.intp]) -> Floats:
    """Return the median of each row without the own value; of the whole row where that is NaN."""
    low, high = (count - 2) // 2, (count - 1) // 2

    def kept(place: NDArray[np.intp]) -> Floats:
        here = _at(ordered, place)
        found: Floats = np.where(here < own, here, _at(ordered, place + 1))
        return found

    return np.where(np.isnan(own), _median(ordered, count)[:, :, None], 0.5 * kept(low) + 0.5 * kept(high))
