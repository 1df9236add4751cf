"""A long range read in chunks of bounded size, each a grid of the series by the times."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import numpy as np

from detectors.types import Floats
from exporter.source.adaptive import AdaptiveReader, Gap
from exporter.source.meanwhile import meanwhile
from exporter.source.pace import PAST, Pace
from exporter.source.samples import RangeResult, Source

_AT_ONCE: Final = 1_000_000
"""Samples of a chunk, which bound the memory that a fill takes besides the window itself: about 100 bytes each."""
_FIRST_COLUMNS: Final = 10
"""Samples per series read at first, while the number of series is not known; every chunk may be `_GROWTH` times as
long as the one before."""
_GROWTH: Final = 5
_UNSEEN: Final = 10_000
"""Series expected where there were none: they may begin in the next chunk."""


@dataclass(slots=True)
class FetchStats:
    """What one chunk of samples brought in."""

    samples: int = 0
    body_bytes: int = 0
    samples_read: int = 0
    retries: int = 0
    partial: bool = False
    series: int = 0
    gaps: list[Gap] = field(default_factory=list)
    """Times that a query had no answer for, though the newest one has."""
    series_dropped: dict[str, int] = field(default_factory=dict)
    samples_dropped: dict[str, int] = field(default_factory=dict)

    def add(self, frame: RangeResult) -> None:
        """Count one answer."""
        self.samples += len(frame.values)
        self.body_bytes += frame.body_bytes
        self.samples_read += frame.samples_read
        self.retries += frame.retries
        self.partial |= bool(frame.warnings)
        self.series += len(frame.labels)
        for mine, theirs in (
            (self.series_dropped, frame.series_dropped),
            (self.samples_dropped, frame.samples_dropped),
        ):
            for reason, count in theirs.items():
                mine[reason] = mine.get(reason, 0) + count


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Samples of all queries on one grid of times, for `Window.append`.

    Parameters
    ----------
    first : float
        Unix seconds of the first column.
    count : int
        Columns.
    answers : tuple, one for each channel
        Labels of the series as in `RangeResult`, length S, and their values, shape (S, count).
    stats : FetchStats
        What it brought in.
    """

    first: float
    count: int
    answers: tuple[tuple[list[bytes], Floats], ...]
    stats: FetchStats

    @property
    def size(self) -> int:
        """Places for samples, with or without one."""
        return sum(values.size for _, values in self.answers)


def fetch(
    source: Source,
    queries: Mapping[str, str],
    step: float,
    start: float,
    until: float,
    *,
    max_series: int | None = None,
    series: int = 0,
    reader: AdaptiveReader | None = None,
    newest: float | None = None,
    pace: Pace | None = None,
    measured: Callable[[], AbstractContextManager[object]] = nullcontext,
    ahead: Callable[[], None] | None = None,
    done: Callable[[FetchStats], None] = lambda _: None,
) -> Iterator[Chunk]:
    """Yield the samples from `start` up to `until` (Unix seconds) in chunks, the oldest first.

    Of a long range the next chunk is asked for, in a thread, while the one before is dealt with, so that no more than
    two are held. A range that the source refuses is asked for in shorter chunks, and a time that it refuses alone is a
    gap (`AdaptiveReader`). Raises SourceError when it does not answer the newest time either.

    Parameters
    ----------
    queries : mapping of str to str
        PromQL by channel name.
    step : float
        Seconds between samples; times are multiples of it, `start` too (see `on_grid`).
    max_series : int or None
        Most series per query; None: the source's own limit.
    series : int
        Series that are expected; 0: unknown, then the first chunks are short.
    reader : AdaptiveReader or None
        Remembers how long a range the source answers, from one call to the next.
    newest : float or None
        Unix seconds of the time that tells whether the source answers at all; None: `until`.
    pace : Pace or None
        Says when chunks of a long range may be asked for; None: at any time.
    measured : callable
        Returns a context in which each chunk is asked for.
    ahead : callable or None
        Called while the source computes its answer, where one sample of each series is asked for.
    done : callable
        Called with the figures of a chunk once it has been dealt with.
    """
    at, end = round(start / step), int(np.floor(until / step))
    known = end if newest is None else int(np.floor(newest / step))
    reader = reader or AdaptiveReader(step)
    reader.begin()
    read = partial(reader.read, source, newest=known, max_series=max_series)
    columns = _AT_ONCE if series else _FIRST_COLUMNS
    unwanted, long = threading.Event(), end - at >= PAST

    def ask(first: int, count: int) -> Chunk:
        with measured():
            if pace is None or not long:
                with meanwhile(ahead if first == end else None):
                    return _chunk(read, queries, step, first, count)
            with pace.turn(unwanted):
                return _chunk(read, queries, step, first, count)

    coming: _Coming | None = None
    try:
        while at <= end:
            columns = max(min(columns, _AT_ONCE // (series or _UNSEEN)), 1)
            chunk = ask(at, min(columns, end - at + 1)) if coming is None else coming.taken()
            at += chunk.count
            columns *= _GROWTH
            if len(chunk.stats.gaps) < len(queries):  # of a gap nothing is known
                series = sum(len(labels) for labels, _ in chunk.answers)
            if long and at <= end:
                columns = max(min(columns, _AT_ONCE // (series or _UNSEEN)), 1)
                coming = _Coming(partial(ask, at, min(columns, end - at + 1)))
            yield chunk
            done(chunk.stats)
    finally:
        unwanted.set()
        if coming is not None:
            coming.join()  # the next read must not meet it


class _Coming(threading.Thread):
    """A chunk that is being asked for."""

    def __init__(self, ask: Callable[[], Chunk]) -> None:
        super().__init__(name="read ahead", daemon=True)
        self._ask = ask
        self._chunk: Chunk | None = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Ask."""
        try:
            self._chunk = self._ask()
        except BaseException as error:
            self._error = error

    def taken(self) -> Chunk:
        """Return the chunk once it is there. Raises what asking raised."""
        self.join()
        if self._error is not None:
            raise self._error
        assert self._chunk is not None
        return self._chunk


def on_grid(time: float, step: float) -> float:
    """Return the first multiple of `step` at `time` (Unix seconds) or after it."""
    return float(np.ceil(time / step - 1e-6) * step)


def _chunk(
    read: Callable[..., tuple[RangeResult, int, Gap | None]],
    queries: Mapping[str, str],
    step: float,
    first: int,
    count: int,
) -> Chunk:
    """Read as many columns as all queries answer."""
    stats, frames, gaps = FetchStats(), [], []
    for query in queries.values():
        frame, count, gap = read(query, first, count)
        stats.add(frame)
        gaps.append(gap)
        frames.append(frame)
    stats.gaps = [replace(gap, count=count) for gap in gaps if gap is not None]
    return Chunk(first * step, count, tuple(_on_grid(frame, first, count, step) for frame in frames), stats)


def _on_grid(frame: RangeResult, first: int, count: int, step: float) -> tuple[list[bytes], Floats]:
    row = np.repeat(np.arange(len(frame.labels)), frame.counts)
    column = np.rint((frame.times - first * step) / step).astype(np.int64)
    values = np.full((len(frame.labels), count), np.nan)
    inside = (column >= 0) & (column < count)
    values[row[inside], column[inside]] = frame.values[inside]
    return frame.labels, values
