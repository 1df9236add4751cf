"""Types shared by all detectors: a batch of samples in, a judgement out.

Shapes use E entities, C channels (one per PromQL query) and T samples.
"""

from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Key = tuple[tuple[str, str], ...]
"""Identity of an entity: its (label, value) pairs, sorted."""
State = dict[str, NDArray[np.generic]]
"""Named arrays that are enough to restore a detector."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Samples of one job on an evenly spaced grid.

    Parameters
    ----------
    keys : tuple of Key, length E
        Identities of the entities. While the set of entities stays the same, the same tuple object is passed.
    channels : tuple of str, length C
        Channel names; C = 1 is not a special case.
    times : Floats, shape (T,)
        Unix seconds, ascending and evenly spaced.
    values : Floats, shape (E, C, T)
        Samples; NaN is a gap. Never infinite.
    weekdays : int8 array, shape (T,), optional
        Day of the week as which each sample counts, 0 for Monday and -1 for its own: a holiday may count as a Sunday.
        None: all count as their own.
    """

    keys: tuple[Key, ...]
    channels: tuple[str, ...]
    times: Floats
    values: Floats
    weekdays: NDArray[np.int8] | None = None

    def last(self, samples: int) -> "Batch":
        """Return the newest `samples` samples, or all where there are fewer."""
        weekdays = None if self.weekdays is None else self.weekdays[-samples:]
        return replace(self, times=self.times[-samples:], values=self.values[:, :, -samples:], weekdays=weekdays)

    def weekday(self, sample: int) -> int:
        """Return the day of the week as which a sample counts, 0 for Monday; -1 for its own."""
        return -1 if self.weekdays is None else int(self.weekdays[sample])


@dataclass(frozen=True, slots=True, eq=False)
class Streams:
    """What the scores of K entities are made of, in S streams of evidence.

    Parameters
    ----------
    names : tuple of str, length S
        Those of `detectors.streams`, in its order.
    rows : shape (K,)
        Rows of the entities in the batch, ascending.
    size : Floats, shape (K, S)
        How far from usual, in standard deviations of the noise; negative below. NaN where there is no such number.
    period : Floats, shape (K, S)
        Return period in seconds: so much comes by chance once in this time. Positive; infinite for what never does, NaN
        where the detector does not know. A stream of which neither is known is not there.
    channel : shape (K, S)
        Index of the channel that it is about, -1 for all of them.
    by_hour : Flags, shape (K,)
        Whether the forecast is that of this hour of the day or week.
    others, own, theirs, usual : Floats, shape (K,)
        How many peers an entity was compared with; in the unit of the channel that differs most its value, the median
        of theirs, and what they make of it. NaN where it was not compared.
    peers : tuple of str
        The labels whose values make entities peers.
    """

    names: tuple[str, ...]
    rows: NDArray[np.intp]
    size: Floats
    period: Floats
    channel: NDArray[np.int16]
    by_hour: Flags
    others: Floats
    own: Floats
    theirs: Floats
    usual: Floats
    peers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """Result of a detector for the newest sample of every entity.

    Parameters
    ----------
    score : Floats, shape (E,)
        Above 1 is anomalous. NaN: there is not enough data for a score.
    expected, lower, upper : Floats, shape (E, C)
        Forecast and band in the unit of the channel; NaN where the detector has none.
    contribution : Floats, shape (E, C)
        Share of each channel in the score: not negative, and 1 in sum over the channels; NaN where there is no score.
    direction : Floats, shape (E, C), optional
        What makes the score lies above what is usual (1), below (-1) or on both sides (between); NaN where that is not
        known. None: it is the side of the forecast on which the value lies.
    streams : Streams, optional
        What the scores above `detectors.streams.SHOWN_FROM` are made of; None where there is no such score.
    """

    score: Floats
    expected: Floats
    lower: Floats
    upper: Floats
    contribution: Floats
    direction: Floats | None = None
    streams: Streams | None = None


class Detector(Protocol):
    """Interface between the cycle and a detector. The hyper-parameters are the detector's dataclass fields.

    Per sample the cycle calls `score`, decides on incidents, and calls `update`. Where it has to wait for the sample,
    it calls `prepare` meanwhile.
    """

    @property
    def window(self) -> int:
        """Number of samples that `score` needs."""
        ...

    def fit(self, history: Batch) -> Self:
        """Learn offline from `history`, which may be slow. Raises ValueError when there is too little data."""
        ...

    def prepare(self, coming: Batch) -> None:
        """Compute what the next `score` needs and what does not depend on the newest samples. May do nothing.

        `coming` is the batch that will be scored, its newest samples still NaN. The scores are the same to the bit
        without it, and where another batch comes: entities or time may be others then, and what is computed is dropped.
        """
        ...

    def score(self, batch: Batch) -> Judgement:
        """Score the newest sample of each entity. Learns nothing: the same input gives the same output."""
        ...

    def update(self, fresh: Batch, frozen: Flags, rebaselined: Flags) -> None:
        """Learn the new samples, after `score` of a batch that ends with them. May do nothing.

        Parameters
        ----------
        fresh : Batch
            The samples since the last update.
        frozen : Flags, shape (E,)
            Learning is frozen: an incident is open, and its level must not become normal.
        rebaselined : Flags, shape (E,)
            The level of a long or accepted incident becomes the normal one now.
        """
        ...

    def state(self) -> State:
        """Return everything learnt, as named arrays."""
        ...

    def restore(self, state: State) -> Self:
        """Load what `state()` returned. Raises ValueError when it does not fit this detector."""
        ...
