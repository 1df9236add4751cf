"""Entities beside their peers, with what is learnt of it: what the detectors `auto` and `peers` have in common."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.entity_state import LazyEntityState
from detectors.peers import comparison, learning, usual
from detectors.peers.comparison import Comparison
from detectors.peers.groups import Groups
from detectors.stateful import LastScore
from detectors.streams import BESIDE, LARGEST
from detectors.types import Batch, Flags, Floats, Key, State, Streams
from detectors.units import WEEK


@dataclass(frozen=True, slots=True, eq=False)
class Endings:
    """What becomes of the incidents of E entities at one sample; all have shape (E,).

    Parameters
    ----------
    learns : Flags
        The sample is normal.
    counted, uncounted : Flags
        An incident has ended; it did because data is missing, and how large it was is not known.
    moved : Flags
        How an entity lies to its peers now is usual from now on.
    """

    learns: Flags
    counted: Flags
    uncounted: Flags
    moved: Flags

    @classmethod
    def of(cls, entities: int) -> "Endings":
        """Return those of so many entities, to be filled in."""
        return cls(*np.zeros((4, entities), np.bool_))

    def part(self, entities: slice) -> "Endings":
        """Return those of some entities: views, so that they can be filled in."""
        return Endings(*(each[entities] for each in (self.learns, self.counted, self.uncounted, self.moved)))


class Beside:
    """Compares the entities of each batch with their peers, and learns what is usual of them.

    Parameters
    ----------
    labels : tuple of str
        Entities with equal values of these labels are peers; none: all of the job are.
    """

    def __init__(self, labels: tuple[str, ...]) -> None:
        self._labels = labels
        self._entities = LazyEntityState(usual.columns, per_channel="peer_own")
        self._last: LastScore[Comparison] = LastScore()
        self._groups: tuple[tuple[Key, ...], Groups] = ((), Groups((), labels))

    def groups(self, keys: tuple[Key, ...]) -> Groups:
        """Return who are peers among the entities `keys`."""
        if self._groups[0] is not keys:
            self._groups = keys, Groups(keys, self._labels)
        return self._groups[1]

    def observe(self, batch: Batch, step: float, held: Flags) -> Comparison:
        """Compare the newest samples; `held`, shape (E,), are the entities with an open incident. Learns nothing."""
        rows, channels = self._of_series(self._entities.view(batch)), len(batch.channels)
        newest, time = batch.values[:, :, -1], float(batch.times[-1])
        with np.errstate(over="ignore", under="ignore"):
            found = comparison.observe(rows, self.groups(batch.keys), newest, time, step, np.repeat(held, channels))
        self._last.keep(batch, found)
        return found

    def allowed(self, batch: Batch, found: Comparison, series: NDArray[np.intp]) -> Floats:
        """Return half the width of the band around what is expected of some series of a comparison."""
        return found.allowed(self._of_series(self._entities.view(batch)), series)

    def tell(self, told: Streams, batch: Batch, found: Comparison) -> Streams:
        """Return `told` with the streams of peers of its entities: of the channel that differs most."""
        channels, groups = len(batch.channels), self.groups(batch.keys)
        series = told.rows[:, None] * channels + np.arange(channels)
        most = np.where(found.judged[series], found.evidence.return_period[series], -1.0).argmax(axis=1)
        chosen = series[np.arange(len(series)), most]
        known = np.flatnonzero(found.judged[chosen])
        if not len(known):
            return told
        chosen, most = chosen[known], most[known]
        parts = found.evidence.parts[chosen]
        there = parts > 0
        told.size[known, BESIDE] = np.where(there, np.clip(found.sizes[chosen], -LARGEST, LARGEST), np.nan)
        told.period[known, BESIDE] = np.where(there, parts * WEEK, np.nan)
        if channels > 1:
            told.channel[known, BESIDE] = most[:, None]
        theirs = groups.others(batch.values[:, :, -1]).middle.reshape(-1)
        told.others[known], told.theirs[known] = found.others[chosen], theirs[chosen]
        told.own[known], told.usual[known] = batch.values[:, :, -1].reshape(-1)[chosen], found.expected[chosen]
        return replace(told, peers=self._labels)

    def learn(self, fresh: Batch, step: float, endings: "Endings") -> None:
        """Learn the newest sample, `step` seconds after the one before, after `observe` of the same one."""
        found, channels = self._last.take(fresh), len(fresh.channels)
        self._entities.align(fresh)
        rows = self._of_series(self._entities.view(fresh))

        def series(flags: Flags) -> NDArray[np.intp]:
            return np.flatnonzero(np.repeat(flags, channels))

        with np.errstate(over="ignore", under="ignore"):
            newest, time = fresh.values[:, :, -1], float(fresh.times[-1])
            learning.learn(rows, found, newest, time, step, np.repeat(endings.learns, channels))
        if endings.moved.any():
            learning.rebaseline(rows, series(endings.moved))
        for ended, count in ((endings.counted, True), (endings.uncounted, False)):
            if ended.any():
                learning.close(rows, series(ended), count)

    def _of_series(self, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return the arrays with one row per series. They are views."""
        return {name: array.reshape(-1, *array.shape[2:]) for name, array in arrays.items()}

    def state(self) -> State:
        """Return everything learnt; empty before the first batch."""
        return self._entities.state()

    def restore(self, state: State) -> None:
        """Load what `state()` returned; an empty one changes nothing. Raises ValueError when it does not fit."""
        self._entities.restore(state)


def of_entities(of_series: Floats, channels: int) -> Floats:
    """Return by entity, shape (E,), the largest of several channels: one of C is C times as likely by chance."""
    found: Floats = of_series.reshape(-1, channels).max(axis=1) / channels
    return found
