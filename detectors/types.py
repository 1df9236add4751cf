"""The types every detector speaks: a batch of samples in, a judgement out.

Shapes use E entities, C channels (one per PromQL query) and T samples.
"""

from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Key = tuple[tuple[str, str], ...]
"""Sorted (label, value) pairs: the identity of an entity."""
State = dict[str, NDArray[np.generic]]
"""Named arrays, enough to restore a detector."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Samples of one job on an evenly spaced grid.

    Parameters
    ----------
    keys : tuple of Key, length E
        Identities of the entities. The same tuple object is passed again while the set of entities stays the same.
    channels : tuple of str, length C
        Channel names; C = 1 is no special case.
    times : Floats, shape (T,)
        Unix seconds, ascending and evenly spaced.
    values : Floats, shape (E, C, T)
        NaN is a gap, never a zero. Never infinite.
    """

    keys: tuple[Key, ...]
    channels: tuple[str, ...]
    times: Floats
    values: Floats

    def last(self, samples: int) -> "Batch":
        """Return the newest `samples` samples, or all where there are fewer."""
        return replace(self, times=self.times[-samples:], values=self.values[:, :, -samples:])


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What a detector says of the newest sample of every entity.

    Parameters
    ----------
    score : Floats, shape (E,)
        High is anomalous, above 1 is an anomaly, NaN means "cannot tell yet".
    expected, lower, upper : Floats, shape (E, C)
        Forecast and band in the unit of the channel, NaN where the detector has none.
    contribution : Floats, shape (E, C)
        Share of the score by channel, non-negative, rows sum to 1 (NaN rows where there is no score).
    """

    score: Floats
    expected: Floats
    lower: Floats
    upper: Floats
    contribution: Floats


class Detector(Protocol):
    """What the cycle asks of a detector. Hyper-parameters are the detector's dataclass fields."""

    @property
    def window(self) -> int:
        """Samples `score` wants to see."""
        ...

    def fit(self, history: Batch) -> Self:
        """Learn offline from `history`; may be slow. Raises ValueError when there is too little to learn from."""
        ...

    def score(self, batch: Batch) -> Judgement:
        """Judge the newest sample of each entity. Pure: same input, same output, nothing learnt."""
        ...

    def update(self, fresh: Batch, frozen: Flags, rebaselined: Flags) -> None:
        """Learn the new samples; may do nothing.

        Parameters
        ----------
        fresh : Batch
            The samples not seen before.
        frozen : Flags, shape (E,)
            An incident is open: its level must not become normal.
        rebaselined : Flags, shape (E,)
            The level of a long incident shall become normal now.
        """
        ...

    def state(self) -> State:
        """Return all that was learnt, as named arrays."""
        ...

    def restore(self, state: State) -> Self:
        """Take over what `state()` returned. Raises ValueError when it does not fit this detector."""
        ...
