"""The newest samples of every entity of a job, extended by what is new."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np

from detectors.types import Batch, Flags, Floats, Key
from exporter.config.sections.job import JobConfig
from exporter.pipeline.series_rows import FOREIGN, LABELS, UNKNOWN, SeriesRows
from exporter.source.chunks import Chunk

_METRIC_NAME: Final = "__name__"
_MOST_SHARED: Final = 1000
"""Values of a label that entities share as objects: 40 MiB less at 100,000 series of five labels."""
Edit = Callable[[Batch], None]
"""Changes the newest column of a window in place."""


class Window:
    """Values of shape (E, C, T) on a grid of whole steps; NaN where there is no sample.

    Samples come in chunks and are appended one time after the other, so that memory is a window and a chunk, however
    much there is to read. An entity joins with its first sample and is forgotten when it had none for a whole window.
    Not thread-safe: a job runs one cycle at a time.

    Parameters
    ----------
    channels : sequence of str
        Names of the channels, in the order of the answers of a chunk.
    step : float
        Seconds between samples; times are multiples of it.
    samples : int
        Samples kept.
    entity : sequence of str or None
        Labels that identify an entity; None: all of them.
    owns : callable taking a Key
        Tells whether an entity is ours to judge; another replica has the others.
    keys : tuple of Key
        The entities of the window before a restart, which keep their order.
    edit : callable taking a Batch, optional
        Changes the newest column of the window in place, before anybody sees it. An entity whose sample it takes out
        stays.
    """

    def __init__(
        self,
        channels: Sequence[str],
        step: float,
        samples: int,
        entity: Sequence[str] | None = None,
        owns: Callable[[Key], bool] = lambda _key: True,
        keys: tuple[Key, ...] = (),
        edit: Edit | None = None,
    ) -> None:
        self.channels = tuple(channels)
        self.keys = keys
        self.until = -np.inf
        """Unix seconds of the newest column; -inf before the first fill."""
        self._step, self.samples = step, samples
        self._entity = None if entity is None else frozenset(entity)
        self._owns, self._edit = owns, edit
        self._pairs: dict[str, dict[str, tuple[str, str]]] = {}
        self._row = {key: row for row, key in enumerate(keys)}
        self._rows_by_label: list[dict[bytes, int]] = [{} for _ in self.channels]
        self._placed: dict[int, SeriesRows] = {}
        # Samples end at column self._end; free columns to the right let most extensions write without moving anything.
        self._values: Floats = np.empty((len(keys), len(self.channels), 0))
        self._end = 0
        self._seen: Floats = np.full(len(keys), -np.inf)

    @classmethod
    def of(
        cls,
        job: JobConfig,
        samples: int,
        owns: Callable[[Key], bool] = lambda _key: True,
        keys: tuple[Key, ...] = (),
        edit: Edit | None = None,
    ) -> "Window":
        """Return an empty window of a configured job that keeps so many samples."""
        return cls(tuple(job.queries), job.step, samples, job.entity, owns, keys, edit)

    def append(self, chunk: Chunk) -> Iterator[Batch]:
        """Append the samples of `chunk` one time after the other; yield the window as it stands after each.

        A window is good until the next one is asked for. Its entities are those that had a sample in it, in the order
        in which they joined, however the samples were cut into chunks: backfilled or as it happened, the windows are
        the same.
        """
        joined: Floats | None = None
        for at in range(chunk.count):
            time = chunk.first + at * self._step
            self._advance(time)
            if joined is None or len(joined) != len(self.keys):  # some came or went: their rows are others now
                joined = self._joined(chunk)
            if joined is not None:
                self._values[:, :, self._end - 1] = joined[:, :, at]
                self._seen[np.isfinite(joined[:, :, at]).any(axis=1)] = time
            else:
                for channel, (labels, values) in enumerate(chunk.answers):
                    self._write(channel, labels, values[:, at], chunk)
            self._forget(time)
            newest = self.newest()
            if self._edit is not None:
                self._edit(newest)
            yield newest

    def _joined(self, chunk: Chunk) -> Floats | None:
        """Return the samples of a chunk by entity, shape (E, C, count), None while a series has no row of its own.

        Forty channels then take no longer than one, a column at a time.
        """
        every = [
            self._place(channel, labels, np.zeros(len(labels), np.bool_))
            for channel, (labels, _) in enumerate(chunk.answers)
        ]
        if any((placed.rows == UNKNOWN).any() for placed in every):  # asked again at the next time
            return None
        joined = np.full((len(self.keys), len(self.channels), chunk.count), np.nan)
        for channel, ((_, values), placed) in enumerate(zip(chunk.answers, every, strict=True)):
            _count(chunk, placed.write(joined[:, channel], values))
        return joined

    def newest(self) -> Batch:
        """Return the window as it stands."""
        samples = min(self.samples, self._end)
        times = self.until - self._step * np.arange(samples - 1, -1, -1.0)
        return Batch(self.keys, self.channels, times, self._values[:, :, self._end - samples : self._end])

    def coming(self, time: float) -> Batch | None:
        """Return the window as it will stand when the next samples, those at `time`, have come; they are NaN as yet.

        None where the window holds no samples that come right before them. It is good until something is appended.
        """
        if not self.keys or not self._end or not 0.5 * self._step < time - self.until < 1.5 * self._step:
            return None
        if self._end == self._values.shape[2]:
            self._make_room()
        self._values[:, :, self._end] = np.nan
        samples = min(self.samples, self._end + 1)
        times = time - self._step * np.arange(samples - 1, -1, -1.0)
        return Batch(self.keys, self.channels, times, self._values[:, :, self._end + 1 - samples : self._end + 1])

    def _advance(self, time: float) -> None:
        """Open an empty column at the end."""
        if self.until == -np.inf:
            self._seen[:] = time - self._step  # whoever has no sample in the first window is then gone
        if time > self.until + 1.5 * self._step:  # nothing is known of the time in between: no column may stand for it
            self._end = 0
        if self._end == self._values.shape[2]:
            self._make_room()
        self._values[:, :, self._end] = np.nan
        self._end += 1
        self.until = time

    def _make_room(self) -> None:
        """Move what is kept to the front, or get more memory as long as there is less than a window."""
        held = min(self._end, self.samples - 1)
        if shift := self._end - held:
            for at in range(0, held, shift):  # in pieces that do not overlap: a long window must not be there twice
                piece = self._values[:, :, at + shift : min(at + 2 * shift, self._end)]
                self._values[:, :, at : at + piece.shape[2]] = piece
            self._end = held
        else:
            room = np.empty((*self._values.shape[:2], min(2 * held + 16, self.samples + self.samples // 8 + 8)))
            room[:, :, :held] = self._values[:, :, :held]
            self._values = room

    def _write(self, channel: int, labels: list[bytes], column: Floats, chunk: Chunk) -> None:
        """Put one sample per series into the newest column."""
        present = np.isfinite(column)
        placed = self._place(channel, labels, present)
        newest = self._values[:, channel, self._end - 1 : self._end]
        _count(chunk, placed.write(newest, column[:, np.newaxis]))
        seen = placed.rows[present]
        self._seen[seen[seen >= 0]] = self.until

    def _place(self, channel: int, labels: list[bytes], present: Flags) -> SeriesRows:
        """Return where the samples of every series belong; new ones are given a row if they are `present`."""
        known, placed = self._rows_by_label[channel], self._placed.get(channel)
        if placed is None or labels is not placed.labels:  # the source passes the same list while the series stay
            rows = np.array([known.get(label, UNKNOWN) for label in labels], np.int64)  # 50 ns per series
            placed = self._placed[channel] = SeriesRows.of(labels, rows)
        unknown = np.flatnonzero(present & (placed.rows == UNKNOWN))
        if len(unknown):
            rows = placed.rows.copy()
            for at in unknown.tolist():
                key = self._key(labels[at])  # labels are parsed when not seen before
                row = self._row.setdefault(key, len(self._row)) if self._owns(key) else FOREIGN
                rows[at] = known[labels[at]] = row
            self._grow()
            placed = self._placed[channel] = SeriesRows.of(labels, rows)
            if len(known) > 2 * len(labels) + 1000:  # mostly of series whose entity went on with another, or foreign
                there = frozenset(labels)
                for label in [label for label in known if label not in there]:
                    del known[label]
        return placed

    def _key(self, label: bytes) -> Key:
        names, pairs = self._entity, sorted(LABELS.decode(label).items())
        if names is None:
            return tuple(self._shared(pair) for pair in pairs if pair[0] != _METRIC_NAME)
        return tuple(self._shared(pair) for pair in pairs if pair[0] in names)

    def _shared(self, pair: tuple[str, str]) -> tuple[str, str]:
        """Return the same object for the same label: most labels have few values, and many entities share each."""
        known = self._pairs.setdefault(pair[0], {})
        return known.setdefault(pair[1], pair) if len(known) < _MOST_SHARED else known.get(pair[1], pair)

    def _grow(self) -> None:
        more = len(self._row) - len(self.keys)
        if more:
            self.keys = tuple(self._row)
            self._values = np.concatenate([self._values, np.full((more, *self._values.shape[1:]), np.nan)])
            self._seen = np.concatenate([self._seen, np.full(more, -np.inf)])

    def _forget(self, end: float) -> None:
        """Drop entities without a sample in the whole window."""
        gone = self._seen <= end - (self.samples - 0.5) * self._step
        if not gone.any():
            return
        new_row = np.append(np.where(gone, UNKNOWN, np.cumsum(~gone) - 1), [FOREIGN, UNKNOWN])
        self._row = {key: int(new_row[row]) for key, row in self._row.items() if not gone[row]}
        self.keys = tuple(self._row)
        self._values, self._seen = self._values[~gone], self._seen[~gone]
        for channel, known in enumerate(self._rows_by_label):
            there: frozenset[bytes] = frozenset()
            if (placed := self._placed.get(channel)) is not None:
                self._placed[channel] = placed.renumbered(new_row)
                there = frozenset(placed.labels)
            self._rows_by_label[channel] = {
                label: int(new_row[row])
                for label, row in known.items()
                if (row >= 0 and not gone[row]) or (row == FOREIGN and label in there)
            }


def _count(chunk: Chunk, left_out: int) -> None:
    """Note how many series of a chunk had a sample at the time of another one of their entity."""
    if left_out > chunk.stats.series_dropped.get("duplicate", 0):
        chunk.stats.series_dropped["duplicate"] = left_out
