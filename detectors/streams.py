"""Streams of evidence: their names, and how those of several judgements become one."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.types import Flags, Floats, Streams

SHOWN_FROM: Final = 0.44
"""Score above which streams are told: below it nothing opens, up to a line of seven false alarms a week, and a healthy
fleet has hardly any."""
VALUE, MEANS, VOLATILITY, PAIR = 0, slice(1, 4), 4, 5
SECOND, CORRELATION, VOLATILITY_OF_ALL, OUTSIDE = 6, 7, 8, 9
_BESIDE_PEERS: Final = " beside its peers"
STREAMS: Final = (
    "value now",
    "3-minute mean",
    "10-minute mean",
    "30-minute mean",
    "volatility",
    "pair of values never seen",
    "second largest channel",
    "broken correlation",
    "volatility of all channels",
    "outside the valid range",
    f"value{_BESIDE_PEERS}",
    f"10-minute mean{_BESIDE_PEERS}",
)
"""The names, by index. The means have longer names where a job's step is longer."""
BESIDE: Final = slice(10, 12)
"""Those of jobs with `peers`."""
OF_PEERS: Final = ("others", "own", "theirs", "usual")
WITHOUT_SIDE: Final = frozenset({STREAMS[CORRELATION], STREAMS[VOLATILITY_OF_ALL]})
"""Streams whose size is a distance, neither above nor below."""
_BY_ROW: Final = ("rows", "size", "period", "channel", "by_hour", *OF_PEERS)
LARGEST: Final = 1e30
"""Sizes are clipped here: they are kept in single precision."""


@lru_cache
def named(seconds: tuple[float, ...]) -> tuple[str, ...]:
    """Return the names where the means span so many seconds.

    Examples
    --------
    >>> named((300.0, 900.0, 7200.0))[:4]
    ('value now', '5-minute mean', '15-minute mean', '2-hour mean')
    """
    means = [f"{each / 3600:g}-hour mean" if each >= 3600 else f"{each / 60:.3g}-minute mean" for each in seconds]
    return (STREAMS[VALUE], *means, *STREAMS[MEANS.stop : BESIDE.stop - 1], f"{means[1]}{_BESIDE_PEERS}")


def blank(rows: NDArray[np.intp], names: tuple[str, ...] = STREAMS) -> Streams:
    """Return streams of some rows of which nothing is known yet, to be filled in."""
    shape = len(rows), len(STREAMS)
    unknown, whole = np.full(shape, np.nan), np.full(shape, -1, np.int16)
    peers = {name: np.full(len(rows), np.nan) for name in OF_PEERS}
    return Streams(names, rows, unknown, unknown.copy(), whole, np.zeros(len(rows), np.bool_), peers=(), **peers)


def of_deviation(
    score: Floats, deviation: Floats, period: Floats | None = None, by_hour: Flags | None = None
) -> Streams | None:
    """Return the one stream of detectors that look at the newest value: of the channel that deviates most.

    Parameters
    ----------
    score : Floats, shape (E,)
    deviation : Floats, shape (E, C)
        Of the newest value from what is usual, in standard deviations.
    period : Floats, shape (E,), optional
        Return period of the score in seconds.
    by_hour : Flags, shape (E, C), optional
    """
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero(score > SHOWN_FROM)
    if not len(rows):
        return None
    found = blank(rows)
    away = np.clip(deviation[rows], -LARGEST, LARGEST)
    most, each = np.argmax(np.nan_to_num(np.abs(away), nan=-1.0), axis=1), np.arange(len(rows))
    found.size[:, VALUE] = away[each, most]
    if period is not None:
        found.period[:, VALUE] = period[rows]
    if deviation.shape[1] > 1:
        found.channel[:, VALUE] = most
    if by_hour is not None:
        found.by_hour[...] = by_hour[rows, most]
    return found


def only(streams: Streams, chosen: Flags) -> Streams | None:
    """Return the streams of the entities in `chosen`, shape (E,); None where there is none."""
    keep = chosen[streams.rows]
    if not keep.any():
        return None
    return streams if keep.all() else take(streams, np.flatnonzero(keep))


def take(streams: Streams, positions: NDArray[np.intp]) -> Streams:
    """Return the streams at some positions, shape (K,)."""
    return replace(streams, **{name: getattr(streams, name)[positions] for name in _BY_ROW})


def positions_of(streams: Streams, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return where the entities `rows` are in the streams, -1 for those that are not."""
    place = np.searchsorted(streams.rows, rows)
    there = streams.rows[np.minimum(place, len(streams.rows) - 1)] == rows
    return np.asarray(np.where(there, place, -1))


def merged(several: Sequence[Streams | None], rows: NDArray[np.intp]) -> Streams | None:
    """Return the streams of the entities `rows`: of each stream the strongest that one of several has.

    It is the one that comes by chance most rarely, and where that is not known the largest.
    """
    known = [each for each in several if each is not None and len(each.rows)]
    if not known or not len(rows):
        return None
    found = blank(rows, next((each.names for each in known if each.names != STREAMS), STREAMS))
    found = replace(found, peers=next((each.peers for each in known if each.peers), ()))
    for each in known:
        at = positions_of(each, rows)
        place = np.flatnonzero(at >= 0)
        there = at[place]
        new, old = (_strength(s.size[at], s.period[at]) for s, at in ((each, there), (found, place)))
        better = new > old
        for mine, theirs in ((found.size, each.size), (found.period, each.period), (found.channel, each.channel)):
            mine[place] = np.where(better, theirs[there], mine[place])
        found.by_hour[place] |= each.by_hour[there]
        compared = ~np.isnan(each.others[there])
        for name in OF_PEERS:
            getattr(found, name)[place[compared]] = getattr(each, name)[there[compared]]
    return found


def _strength(size: Floats, period: Floats) -> Floats:
    """Return a number by which streams are compared: any period is more than any size alone, nothing is -inf."""
    with np.errstate(divide="ignore"):
        rare = np.minimum(np.log10(period), 400.0) + 2000.0
        large = np.log10(np.maximum(np.abs(size), 1e-30)) - 1000.0
    strength: Floats = np.where(np.isfinite(rare), rare, np.where(np.isnan(large), -np.inf, large))
    return strength


def strongest(size: Floats, period: Floats) -> NDArray[np.intp]:
    """Return the index of the strongest stream of each entity, shape (K,)."""
    return np.asarray(_strength(size, period).argmax(axis=1))
