"""The answer to one range query, kept as flat arrays."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from detectors.types import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
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
        What the server said beside the data; not empty means that the answer may be partial.
    notes : tuple of str
        What the server said about the query itself ("metric might not be a counter"); the answer is whole.
    series_dropped : dict of str to int
        Series left out, by reason: `limit`, `histogram`, `duplicate`.
    samples_dropped : dict of str to int
        Samples left out, by reason: `infinite`, or `limit` for those of series over a limit.
    body_bytes, retries : int
        Decoded size of the answer; further attempts it took.
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


class Source(Protocol):
    """Where a window gets its samples from."""

    def range(self, expr: str, start: float, end: float, step: float, max_series: int | None = None) -> Frame:
        """Evaluate `expr` at start, start + step, … up to and including `end` (Unix seconds).

        At most `max_series` series are kept (None: the configured limit). Raises SourceError.
        """
        ...

    def metric_types(self, names: Iterable[str]) -> dict[str, str]:
        """Return the type (`counter`, `gauge`, …) of each metric whose type is known. Raises SourceError."""
        ...
