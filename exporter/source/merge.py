"""The parts of a split range, joined into one frame."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from exporter.source.decode import Limits, Part, fitting
from exporter.source.frame import Frame


def merge(parts: Sequence[Part], limits: Limits) -> Frame:
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
    return Frame(
        labels=labels[:fits],
        counts=counts[:fits],
        times=np.concatenate([part.times for part in parts])[order],
        values=np.concatenate([part.values for part in parts])[order],
        warnings=tuple(dict.fromkeys(chain.from_iterable(part.warnings for part in parts))),
        notes=tuple(dict.fromkeys(chain.from_iterable(part.notes for part in parts))),
        series_dropped={reason: count for reason, count in series_dropped.items() if count},
        samples_dropped={reason: count for reason, count in samples_dropped.items() if count},
        body_bytes=sum(part.body_bytes for part in parts),
    )


def _union(
    parts: Sequence[Part], limits: Limits
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
