"""The answer to one range query as arrays, and how answers to neighbouring ranges are joined."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from detectors.types import Floats
from exporter.source.decode import DecodedChunk, Limits, fitting


@dataclass(frozen=True, slots=True, eq=False)
class RangeResult:
    """Series of one range query, in the order of their label bytes.

    Parameters
    ----------
    labels : list of bytes, length S
        The JSON object of each series' labels as the server sent it: a cheap identity, parsed only when unseen
        (`decode.key`). Each occurs once.
    counts : int64 array, shape (S,)
        Samples of each series.
    times, values : Floats, shape (sum of counts,)
        Unix seconds and values, series after series, times ascending. Values may be NaN, never infinite.
    warnings : tuple of str
        Warnings of the server in addition to the data; not empty means that the answer may be partial.
    notes : tuple of str
        What the server said about the query itself ("metric might not be a counter"); the answer is whole.
    series_dropped : dict of str to int
        Series left out, by reason: `limit`, `histogram`, `duplicate`.
    samples_dropped : dict of str to int
        Samples left out, by reason: `infinite`, or `limit` for those of series over a limit.
    body_bytes, retries, samples_read : int
        Decoded size of the answer; further attempts it took; samples that the source has read for it, 0 where it does
        not tell.
    """

    labels: list[bytes]
    counts: NDArray[np.int64]
    times: Floats
    values: Floats
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    series_dropped: dict[str, int] = field(default_factory=dict)
    samples_dropped: dict[str, int] = field(default_factory=dict)
    body_bytes: int = 0
    retries: int = 0
    samples_read: int = 0


class Source(Protocol):
    """Where a window gets its samples from."""

    def range(self, expr: str, start: float, end: float, step: float, max_series: int | None = None) -> RangeResult:
        """Evaluate `expr` at start, start + step, … up to and including `end` (Unix seconds).

        At most `max_series` series are kept (None: the configured limit). Raises SourceError.
        """
        ...

    def metric_types(self, names: Iterable[str]) -> dict[str, str]:
        """Return the type (`counter`, `gauge`, …) of each metric whose type is known. Raises SourceError."""
        ...


NOTHING: Final = RangeResult([], np.empty(0, np.int64), np.empty(0), np.empty(0))
"""No series."""


def join(frames: Sequence[RangeResult]) -> RangeResult:
    """Join the answers to neighbouring ranges, in ascending order of time.

    Of a series that a limit left out of one of them nothing is kept: as in `merge` a series is whole or not there.
    """
    frames = [frame for frame in frames if frame is not NOTHING]
    if len(frames) < 2:
        return frames[0] if frames else NOTHING
    labels = sorted(set().union(*(frame.labels for frame in frames)))
    cut = [max(frame.labels) for frame in frames if frame.series_dropped.get("limit") and frame.labels]
    kept = bisect_right(labels, min(cut)) if cut else len(labels)
    at = {label: row for row, label in enumerate(labels)}
    row = np.concatenate([np.repeat(np.array([at[label] for label in f.labels], np.int64), f.counts) for f in frames])
    order = np.argsort(row, kind="stable")
    counts = np.bincount(row, minlength=len(labels))[:kept]
    order = order[: counts.sum()]
    most: dict[str, int] = {}
    total: dict[str, int] = {}
    for frame in frames:
        for reason, count in frame.series_dropped.items():
            most[reason] = max(most.get(reason, 0), count)
        for reason, count in frame.samples_dropped.items():
            total[reason] = total.get(reason, 0) + count
    return RangeResult(
        labels=labels[:kept],
        counts=counts,
        times=np.concatenate([frame.times for frame in frames])[order],
        values=np.concatenate([frame.values for frame in frames])[order],
        warnings=tuple(dict.fromkeys(chain.from_iterable(frame.warnings for frame in frames))),
        notes=tuple(dict.fromkeys(chain.from_iterable(frame.notes for frame in frames))),
        series_dropped=most,
        samples_dropped=total,
        body_bytes=sum(frame.body_bytes for frame in frames),
        retries=sum(frame.retries for frame in frames),
        samples_read=sum(frame.samples_read for frame in frames),
    )


def last_of(frame: RangeResult, after: float) -> RangeResult:
    """Return what `frame` holds after a time (Unix seconds), without the series that have nothing there."""
    late = frame.times > after
    counts = np.bincount(np.repeat(np.arange(len(frame.labels)), frame.counts)[late], minlength=len(frame.labels))
    labels = frame.labels if counts.all() else [label for label, n in zip(frame.labels, counts, strict=True) if n]
    return replace(frame, labels=labels, counts=counts[counts > 0], times=frame.times[late], values=frame.values[late])


def merge(parts: Sequence[DecodedChunk], limits: Limits) -> RangeResult:
    """Join the parts of a range, in ascending order of time, into one frame. The limits apply to the union."""
    labels, counts, fits, order = _union(parts, limits)
    over = frozenset(map(hash, labels[fits:])).union(*(part.over for part in parts))
    series_dropped = {
        "limit": len(over),
        "histogram": max(part.histograms for part in parts),
        "duplicate": max(part.duplicates for part in parts),
    }
    samples_dropped = {
        "limit": sum(part.over_samples for part in parts) + int(counts[fits:].sum()),
        "infinite": sum(part.infinite for part in parts),
    }
    return RangeResult(
        labels=labels[:fits],
        counts=counts[:fits],
        times=np.concatenate([part.times for part in parts])[order],
        values=np.concatenate([part.values for part in parts])[order],
        warnings=tuple(dict.fromkeys(chain.from_iterable(part.warnings for part in parts))),
        notes=tuple(dict.fromkeys(chain.from_iterable(part.notes for part in parts))),
        series_dropped={reason: count for reason, count in series_dropped.items() if count},
        samples_dropped={reason: count for reason, count in samples_dropped.items() if count},
        body_bytes=sum(part.body_bytes for part in parts),
        samples_read=sum(part.samples_read for part in parts),
    )


def _union(
    parts: Sequence[DecodedChunk], limits: Limits
) -> tuple[list[bytes], NDArray[np.int64], int, slice | NDArray[np.int64]]:
    """Return labels and counts of all parts, how many series stay, and where their samples are in the parts."""
    if len(parts) == 1:  # in order and within the limits already
        return parts[0].labels, parts[0].counts, len(parts[0].labels), slice(None)
    labels = sorted(set().union(*(part.labels for part in parts)))
    at = {label: row for row, label in enumerate(labels)}
    row = np.concatenate([np.repeat([at[label] for label in p.labels], p.counts).astype(np.int64) for p in parts])
    counts = np.bincount(row, minlength=len(labels))
    fits = fitting(counts, limits)
    for part in parts:
        if part.first_dropped is not None:
            fits = min(fits, bisect_left(labels, part.first_dropped))
    return labels, counts, fits, np.argsort(row, kind="stable")[: counts[:fits].sum()]
