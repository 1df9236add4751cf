"""The newest samples of every entity of a job, extended by what is new."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.types import Batch, Floats, Key
from exporter.source.frame import Frame, Source

_LABELS: Final = msgspec.json.Decoder(dict[str, str])
_METRIC_NAME: Final = "__name__"
_DUPLICATE: Final = -1
"""Row of a second series of the same entity: `entity` leaves out the label that tells them apart."""
_FOREIGN: Final = -2
"""Row of a series that another replica judges."""
_AT_ONCE: Final = 1_000_000
"""Samples read at once, which bounds the memory that a fill takes beside the window itself: about 100 bytes each."""
_FIRST_COLUMNS: Final = 10
"""Samples per entity read at first, while the number of entities is not known."""


@dataclass(slots=True)
class Intake:
    """What one extension of a window brought in."""

    samples: int = 0
    body_bytes: int = 0
    retries: int = 0
    partial: bool = False
    series_dropped: dict[str, int] = field(default_factory=dict)
    samples_dropped: dict[str, int] = field(default_factory=dict)

    def add(self, frame: Frame) -> None:
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


class Window:
    """Values of shape (E, C, T) on a grid of whole steps; NaN where there is no sample.

    After the first fill only samples newer than the last are asked for. An entity joins with its first sample and is
    forgotten when it had none for a whole window. Not thread-safe: a job runs one cycle at a time.

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
    """

    def __init__(
        self,
        queries: Mapping[str, str],
        step: float,
        samples: int,
        entity: Sequence[str] | None = None,
        max_series: int | None = None,
        owns: Callable[[Key], bool] = lambda _key: True,
    ) -> None:
        self.queries = dict(queries)
        self.channels = tuple(queries)
        self.keys: tuple[Key, ...] = ()
        self.until = -np.inf
        """Unix seconds of the newest column; -inf before the first fill."""
        self._step, self.samples = step, samples
        self._entity = None if entity is None else frozenset(entity)
        self._max_series, self._owns = max_series, owns
        self._row: dict[Key, int] = {}
        self._rows_by_label: list[dict[bytes, int]] = [{} for _ in self.channels]
        self._last_rows: dict[int, tuple[list[bytes], NDArray[np.int64]]] = {}
        # Samples end at column self._end; free columns to the right let most extensions write without moving anything.
        self._values: Floats = np.empty((0, len(self.channels), 0))
        self._end = 0
        self._seen: Floats = np.empty(0)

    def extend(self, source: Source, until: float, span: int = 0) -> tuple[Batch, Intake]:
        """Fetch the samples up to `until` (Unix seconds) and return the window, with a count of what came in.

        The first fill reads `max(span, samples)` samples, one after a gap longer than the window `samples`. The batch
        holds the whole window of each new sample, as far as it was read. Raises SourceError; what was read until then
        is kept, and the next call goes on from there.
        """
        end = float(np.floor(until / self._step) * self._step)
        intake = Intake()
        wanted = max(span if self.until == -np.inf else 0, self.samples)
        first = max(self.until + self._step, end - (wanted - 1) * self._step)
        new = max(round((end - first) / self._step) + 1, 0)
        while first <= end:
            last = min(end, first + (self._columns_at_once() - 1) * self._step)
            frames = [source.range(q, first, last, self._step, self._max_series) for q in self.queries.values()]
            self._advance(first, last, self.samples + new)
            for channel, frame in enumerate(frames):
                intake.add(frame)
                self._write(channel, frame, first, intake)
            self._forget(last)
            first = last + self._step
        return self._batch(self.samples + max(new - 1, 0)), intake

    def _columns_at_once(self) -> int:
        """Return how many samples per entity one query may bring: a large first fill comes in pieces."""
        return max(_AT_ONCE // max(len(self.keys) * len(self.channels), 1), 1) if self.keys else _FIRST_COLUMNS

    def _batch(self, samples: int) -> Batch:
        samples = min(samples, self._end)
        times = self.until - self._step * np.arange(samples - 1, -1, -1.0)
        return Batch(self.keys, self.channels, times, self._values[:, :, self._end - samples : self._end])

    def _advance(self, first: float, last: float, keep: int) -> None:
        """Open empty columns at the end for the times from `first` to `last`."""
        if first > self.until + self._step:  # nothing is known of the time in between: no column may stand for it
            self._end = 0
        new = round((last - first) / self._step) + 1
        if self._end + new > self._values.shape[2]:
            kept = self._values[:, :, max(self._end - keep, 0) : self._end]
            held = kept.shape[2]
            room = np.full((*kept.shape[:2], held + new + max(keep // 2, 16)), np.nan)
            room[:, :, :held] = kept
            self._values, self._end = room, held
        else:
            self._values[:, :, self._end : self._end + new] = np.nan
        self._end += new
        self.until = last

    def _write(self, channel: int, frame: Frame, start: float, intake: Intake) -> None:
        new = round((self.until - start) / self._step) + 1
        rows = self._rows_of(channel, frame.labels)
        row = np.repeat(rows, frame.counts)
        column = np.rint((frame.times - start) / self._step).astype(np.int64)
        if duplicates := int((rows == _DUPLICATE).sum()):
            intake.series_dropped["duplicate"] = intake.series_dropped.get("duplicate", 0) + duplicates
        inside = (row >= 0) & (column >= 0) & (column < new)
        row, column, values = row[inside], column[inside], frame.values[inside]
        self._values[row, channel, self._end - new + column] = values
        present = np.isfinite(values)
        self._seen[row[present]] = start + self._step * column[present]  # ascending within a series: the last one stays

    def _rows_of(self, channel: int, labels: list[bytes]) -> NDArray[np.int64]:
        """Return the row of every series, negative for those left out. Labels are parsed when not seen before."""
        last, rows = self._last_rows.get(channel, ([], np.empty(0, np.int64)))
        if labels is last:  # the source passes the same list while the series stay
            return rows
        known = self._rows_by_label[channel]
        found = list(map(known.get, labels))  # 50 ns per series
        if None in found:
            taken = set(known.values())
            for at, label in enumerate(labels):
                if found[at] is None:
                    key = self._key(label)
                    row = self._row.setdefault(key, len(self._row)) if self._owns(key) else _FOREIGN
                    found[at] = known[label] = _DUPLICATE if row >= 0 and row in taken else row
                    taken.add(row)
            self._grow()
            if len(known) > 2 * len(labels) + 1000:  # mostly of other replicas' entities that are gone
                present = frozenset(labels)
                for label in [label for label, row in known.items() if row < 0 and label not in present]:
                    del known[label]
        rows = np.array(found, np.int64)
        self._last_rows[channel] = labels, rows
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
        gone = self._seen <= end - self.samples * self._step
        if not gone.any():
            return
        new_row = np.cumsum(~gone) - 1
        self._row = {key: int(new_row[row]) for key, row in self._row.items() if not gone[row]}
        self.keys = tuple(self._row)
        self._values, self._seen = self._values[~gone], self._seen[~gone]
        for channel, known in enumerate(self._rows_by_label):
            present = frozenset(self._last_rows.pop(channel)[0])
            # Duplicates are left out too: the series they repeated may be the one that is gone.
            self._rows_by_label[channel] = {
                label: int(new_row[row]) if row >= 0 else row
                for label, row in known.items()
                if (row >= 0 and not gone[row]) or (row == _FOREIGN and label in present)
            }
