"""Why an incident is open: the streams of evidence behind its score, and their form in texts and answers."""

import math
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from detectors import streams
from detectors.entity_state import position
from detectors.streams import BESIDE, OUTSIDE, WITHOUT_SIDE
from detectors.types import Flags, Floats, Key, Streams
from exporter import incident_wording as wording
from exporter.json_values import finite
from exporter.pipeline.policy import Policy
from exporter.query_units import Unit


class Peers(msgspec.Struct, frozen=True):
    """An entity beside its peers; numbers are in the unit of the channel.

    Parameters
    ----------
    others : int
        How many they are.
    own, theirs, usual : float
        The value, the median of theirs, and what would be usual beside it.
    group : str
        The values of the labels that make them peers; "" where all of the job are.
    unit : Unit
    """

    others: int
    own: float
    theirs: float
    usual: float
    group: str = ""
    unit: Unit = ""

    @property
    def text(self) -> str:
        """It in a sentence."""
        return wording.beside(self.own, self.theirs, self.usual, self.others, self.group, self.unit)


class Stream(msgspec.Struct, frozen=True):
    """One stream of evidence.

    Parameters
    ----------
    name : str
        A word of the glossary: value now, 10-minute mean, volatility, …
    size : float or None
        How far from usual, in standard deviations of its noise; negative below. None: it has no such number.
    every : float or None
        Seconds: so much comes by chance once in this time. None: not known, or never.
    channel : str
        The channel that it is about; "" for all of them, and where there is only one.
    peers : Peers or None
        Those it was compared with, if the stream is about that.
    """

    name: str
    size: float | None
    every: float | None
    channel: str = ""
    peers: Peers | None = None

    @property
    def has_side(self) -> bool:
        """Whether its size is above or below usual, and not a mere distance."""
        return self.name not in WITHOUT_SIDE

    @property
    def text(self) -> str:
        """It in a sentence."""
        return self.told if self.peers is None else f"{self.peers.text}{wording.BETWEEN}{self.told}"

    @property
    def told(self) -> str:
        """It in a sentence, without its peers."""
        return wording.stream(self.name, self.size, self.every, self.channel, self.has_side)


def streams_of(found: Streams | None, policy: Policy, newest: Floats, concerned: Flags) -> Streams | None:
    """Return what the scores are made of where an incident is open or has just ended.

    A value outside the valid range is evidence of its own, whatever the detector says.

    Parameters
    ----------
    found : Streams or None
        Those of the detector.
    policy : Policy
    newest : Floats, shape (E, C)
    concerned : Flags, shape (E,)
    """
    if not concerned.any():
        return None
    if found is not None:
        found = streams.only(found, concerned)
    outside = policy.invalid(newest) & concerned
    if not outside.any():
        return found
    ruled = streams.blank(np.flatnonzero(outside))
    ruled.period[:, OUTSIDE] = np.inf
    if newest.shape[1] > 1:
        ruled.channel[:, OUTSIDE] = policy.outside(newest[ruled.rows]).argmax(axis=1)
    rows = ruled.rows if found is None else np.union1d(ruled.rows, found.rows)
    return streams.merged([found, ruled], rows)


def told(
    of: Streams | None, row: int, channels: tuple[str, ...], key: Key = (), units: Mapping[str, Unit] | None = None
) -> list[Stream]:
    """Return the streams of the entity in a row of the verdict, the strongest first; none where nothing is known.

    `key` is the entity, and `units` are those of the channels. In plain Python: it is asked for one entity after the
    other, and a call of numpy takes as long as all of this.
    """
    if of is None or (at_row := position(of.rows, row)) is None:
        return []
    sizes, every, channel = (array[at_row].tolist() for array in (of.size, of.period, of.channel))
    several = len(channels) > 1
    peers = _peers(of, at_row, channels[max(channel[BESIDE.start], 0)], key, units or {})
    return [
        Stream(
            of.names[at],
            _rounded(sizes[at]),
            _rounded(every[at]),
            channels[channel[at]] if several and channel[at] >= 0 else "",
            peers if BESIDE.start <= at < BESIDE.stop else None,
        )
        for at in strongest(sizes, every)
    ]


def strongest(sizes: Sequence[float], every: Sequence[float]) -> list[int]:
    """Return the indices of the streams that are there, the strongest first, by their sizes and return periods."""
    known = [at for at in range(len(sizes)) if every[at] > 0 or not math.isnan(sizes[at])]
    known.sort(key=lambda at: (every[at] > 0, every[at] if every[at] > 0 else abs(sizes[at])), reverse=True)
    return known


def _peers(of: Streams, at: int, channel: str, key: Key, units: Mapping[str, Unit]) -> Peers | None:
    others, own, theirs, usual = (float(array[at]) for array in (of.others, of.own, of.theirs, of.usual))
    if math.isnan(others):
        return None
    group = " ".join(value for name, value in key if name in of.peers)
    return Peers(round(others), own, theirs, usual, group, units.get(channel, ""))


def is_by_hour(of: Streams | None, row: int) -> bool:
    """Tell whether what was expected of the entity in a row of the verdict is that of the hour of the day or week."""
    at = None if of is None else position(of.rows, row)
    return at is not None and of is not None and bool(of.by_hour[at])


def _rounded(value: float) -> float | None:
    """Return three digits, which are more than anybody needs and the same in single precision."""
    return finite(float(f"{value:.3g}"))
