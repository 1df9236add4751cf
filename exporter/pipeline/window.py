"""The newest samples of every entity of a job, extended by what is new."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.types import Batch, Flags, Floats, Key
from exporter.source.samples import RangeResult, Source

Measured = AbstractContextManager[object]

_LABELS: Final = msgspec.json.Decoder(dict[str, str])
_METRIC_NAME: Final = "__name__"
_DUPLICATE: Final = -1
"""Row of a second series of the same entity: `entity` leaves out the label that tells them apart."""
_UNKNOWN: Final = -2
"""Row of a series that had no sample yet, or none for so long that it was forgotten."""
_FOREIGN: Final = -3
"""Row of a series that another replica judges."""
_AT_ONCE: Final = 1_000_000
"""Samples read at once, which bounds the memory that a fill takes beside the window itself: about 100 bytes each."""
_FIRST_COLUMNS: Final = 10
"""Samples per entity read at first, while the number of entities is not known; every piece may be `_GROWTH` times as
long as the one before."""
_GROWTH: Final = 5
_UNSEEN: Final = 10_000
"""Series expected where there were none: they may begin in the next piece."""


@dataclass(slots=True)
class FetchStats:
    """What one piece of samples brought in."""

    samples: int = 0
    body_bytes: int = 0
    retries: int = 0
    partial: bool = False
    series_dropped: dict[str, int] = field(default_factory=dict)
    samples_dropped: dict[str, int] = field(default_factory=dict)

    def add(self, frame: RangeResult) -> None:
        """Count one answer."""
        self.samples += len(frame.values)
        self.body_bytes += frame.body_bytes
        self.retries += frame.retries
        self.partial |= bool(frame.warnings)
        for mine, theirs in (
            (self.series_dropped, frame.series_dropped),
            (self.samples_dropped, frame.samples_dropped),
        ):
            for reason, count in theirs.items():
                mine[reason] = mine.get(reason, 0) + count


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """Samples as they were read, for `Window.take`.

    Parameters
    ----------
    first : float
        Unix seconds of the first column.
    count : int
        Columns.
    answers : tuple, one for each channel
        Labels of the series as in `RangeResult`, length S, and their values, shape (S, count).
    intake : FetchStats
    """

    first: float
    count: int
    answers: tuple[tuple[list[bytes], Floats], ...]
    intake: FetchStats

    @property
    def size(self) -> int:
        """Places for samples, with or without one."""
        return sum(values.size for _, values in self.answers)


class Window:
    """Values of shape (E, C, T) on a grid of whole steps; NaN where there is no sample.

    Samples are read in pieces and taken one time after the other, so that memory is a window and a piece, however much
    there is to read. An entity joins with its first sample and is forgotten when it had none for a whole window. Not
    thread-safe: a job runs one cycle at a time.

    Parameters
    ----------
    queries : mapping of str to str
        PromQL by channel name.
    step : float
        Seconds between samples; times are multiples of it.
    samples : int
        Samples kept.
    entity : sequence of str or None
        Labels that identify an entity; None: all of them.
    max_series : int or None
        Most series per channel; None: the source's own limit.
    owns : callable taking a Key
        Tells whether an entity is ours to judge; another replica has the others.
    keys : tuple of Key
        The entities of the window before a restart, which keep their order.
    """

    def __init__(
        self,
        queries: Mapping[str, str],
        step: float,
        samples: int,
        entity: Sequence[str] | None = None,
        max_series: int | None = None,
        owns: Callable[[Key], bool] = lambda _key: True,
        keys: tuple[Key, ...] = (),
    ) -> None:
        self.queries = dict(queries)
        self.channels = tuple(queries)
        self.keys = keys
        self.until = -np.inf
        """Unix seconds of the newest column; -inf before the first fill."""
        self._step, self.samples = step, samples
        self._entity = None if entity is None else frozenset(entity)
        self.max_series, self._owns = max_series, owns
        self._row = {key: row for row, key in enumerate(keys)}
        self._rows_by_label: list[dict[bytes, int]] = [{} for _ in self.channels]
        self._last_rows: dict[int, tuple[list[bytes], NDArray[np.int64]]] = {}
        # Samples end at column self._end; free columns to the right let most extensions write without moving anything.
        self._values: Floats = np.empty((len(keys), len(self.channels), 0))
        self._end = 0
        self._seen: Floats = np.full(len(keys), -np.inf)

    def read(
        self, source: Source, first: float, until: float, measured: Callable[[], Measured] = nullcontext
    ) -> Iterator[Chunk]:
        """Ask for the samples from `first` up to `until` (Unix seconds) that are newer than the window, oldest first.

        Each piece is asked for when the one before has been dealt with, and within `measured()`. Raises SourceError;
        what was taken until then is kept, and the next read goes on from there.
        """
        end = float(np.floor(until / self._step) * self._step)
        start = max(self.until + self._step, float(np.ceil(first / self._step - 1e-6) * self._step))
        series, columns = len(self.keys) * len(self.channels), _AT_ONCE if self.keys else _FIRST_COLUMNS
        while start <= end:
            columns = max(min(columns, _AT_ONCE // (series or _UNSEEN)), 1)
            last = min(end, start + (columns - 1) * self._step)
            with measured():
                piece = self._piece(source, start, last)
            yield piece
            series, columns = sum(len(labels) for labels, _ in piece.answers), _GROWTH * columns
            start = last + self._step

    def _piece(self, source: Source, first: float, last: float) -> Chunk:
        intake, answers, count = FetchStats(), [], round((last - first) / self._step) + 1
        for query in self.queries.values():
            frame = source.range(query, first, last, self._step, self.max_series)
            intake.add(frame)
            row = np.repeat(np.arange(len(frame.labels)), frame.counts)
            column = np.rint((frame.times - first) / self._step).astype(np.int64)
            values = np.full((len(frame.labels), count), np.nan)
            inside = (column >= 0) & (column < count)
            values[row[inside], column[inside]] = frame.values[inside]
            answers.append((frame.labels, values))
        return Chunk(first, count, tuple(answers), intake)

    def take(self, piece: Chunk) -> Iterator[Batch]:
        """Add the samples of `piece` one time after the other; yield the window as it stands after each.

        A window is good until the next one is asked for. Its entities are those that had a sample in it, in the order
        in which they joined, whatever the pieces: made up for or as it happened, the windows are the same.
        """
        joined: Floats | None = None
        for at in range(piece.count):
            time = piece.first + at * self._step
            self._advance(time)
            if joined is None or len(joined) != len(self.keys):  # some came or went: their rows are others now
                joined = self._joined(piece)
            if joined is not None:
                self._values[:, :, self._end - 1] = joined[:, :, at]
                self._seen[np.isfinite(joined[:, :, at]).any(axis=1)] = time
            else:
                for channel, (labels, values) in enumerate(piece.answers):
                    duplicates = self._write(channel, labels, values[:, at])
                    if duplicates > piece.intake.series_dropped.get("duplicate", 0):
                        piece.intake.series_dropped["duplicate"] = duplicates
            self._forget(time)
            yield self.newest()

    def _joined(self, piece: Chunk) -> Floats | None:
        """Return the samples of a piece by entity, shape (E, C, count), None while a series has no row of its own.

        Forty channels then take no longer than one, a column at a time.
        """
        every = [
            self._rows_of(channel, labels, np.zeros(len(labels), np.bool_))
            for channel, (labels, _) in enumerate(piece.answers)
        ]
        if any(((rows == _UNKNOWN) | (rows == _DUPLICATE)).any() for rows in every):  # asked again at the next time
            return None
        joined = np.full((len(self.keys), len(self.channels), piece.count), np.nan)
        for channel, ((_, values), rows) in enumerate(zip(piece.answers, every, strict=True)):
            mine = rows >= 0
            joined[rows[mine], channel] = values[mine]
        return joined

    def newest(self) -> Batch:
        """Return the window as it stands."""
        samples = min(self.samples, self._end)
        times = self.until - self._step * np.arange(samples - 1, -1, -1.0)
        return Batch(self.keys, self.channels, times, self._values[:, :, self._end - samples : self._end])

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
            room = np.empty((*self._values.shape[:2], min(2 * held + 16, self.samples + self.samples // 4 + 16)))
            room[:, :, :held] = self._values[:, :, :held]
            self._values = room

    def _write(self, channel: int, labels: list[bytes], column: Floats) -> int:
        """Put one sample per series into the newest column; return how many were of entities that have one already."""
        present = np.isfinite(column)
        rows = self._rows_of(channel, labels, present)[present]
        mine = rows >= 0
        self._values[rows[mine], channel, self._end - 1] = column[present][mine]
        self._seen[rows[mine]] = self.until
        return int((rows == _DUPLICATE).sum())

    def _rows_of(self, channel: int, labels: list[bytes], present: Flags) -> NDArray[np.int64]:
        """Return the row of every series, negative for those left out; new ones are given one if they are `present`."""
        known = self._rows_by_label[channel]
        last, rows = self._last_rows.get(channel, ([], np.empty(0, np.int64)))
        if labels is not last:  # the source passes the same list while the series stay
            rows = np.array([known.get(label, _UNKNOWN) for label in labels], np.int64)  # 50 ns per series
            self._last_rows[channel] = labels, rows
        unknown = np.flatnonzero(present & (rows == _UNKNOWN))
        if len(unknown):
            taken = set(known.values())
            for at in unknown.tolist():
                key = self._key(labels[at])  # labels are parsed when not seen before
                row = self._row.setdefault(key, len(self._row)) if self._owns(key) else _FOREIGN
                rows[at] = known[labels[at]] = _DUPLICATE if row >= 0 and row in taken else row
                taken.add(row)
            self._grow()
            if len(known) > 2 * len(labels) + 1000:  # mostly of other replicas' entities that are gone
                there = frozenset(labels)
                for label in [label for label, row in known.items() if row < 0 and label not in there]:
                    del known[label]
        return rows

    def _key(self, label: bytes) -> Key:
        pairs = _LABELS.decode(label).items()
        if self._entity is None:
            return tuple(sorted(pair for pair in pairs if pair[0] != _METRIC_NAME))
        return tuple(sorted(pair for pair in pairs if pair[0] in self._entity))

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
        new_row = np.append(np.where(gone, _UNKNOWN, np.cumsum(~gone) - 1), [_FOREIGN, _UNKNOWN, _UNKNOWN])
        self._row = {key: int(new_row[row]) for key, row in self._row.items() if not gone[row]}
        self.keys = tuple(self._row)
        self._values, self._seen = self._values[~gone], self._seen[~gone]
        for channel, known in enumerate(self._rows_by_label):
            labels, rows = self._last_rows.get(channel, ([], np.empty(0, np.int64)))
            # Duplicates become unknown too: the series they repeated may be the one that is gone.
            self._last_rows[channel] = labels, new_row[rows]
            there = frozenset(labels)
            self._rows_by_label[channel] = {
                label: int(new_row[row])
                for label, row in known.items()
                if (row >= 0 and not gone[row]) or (row == _FOREIGN and label in there)
            }
