"""Only our share of an answer is asked for: the series with the values of one label that are ours to judge.

Which values there are is asked of the source before every query, which is cheap beside the query. So a new value is
read in the cycle in which it appears, and what another replica believes does not matter: whose a value is follows from
the value alone. Where the source does not list values, the whole answer is read, and the window keeps our share of it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, Protocol, runtime_checkable

import numpy as np
import structlog

from exporter.promql_split import longest_pattern, matchers, reach, selectors, with_matcher
from exporter.source.errors import BadAnswer, QueryRejected
from exporter.source.samples import NOTHING, RangeResult, Source

log = structlog.get_logger()

MOST_VALUES: Final = 100_000
"""Values of a label from which on a list may be cut: VictoriaMetrics returns no more, and does not say so."""


@runtime_checkable
class ListingSource(Source, Protocol):
    """A source that knows which values a label has."""

    def label_values(self, label: str, selectors: Sequence[str], start: float, end: float) -> list[str]:
        """Return the values that `label` has in the series of `selectors` with samples from `start` to `end`.

        More of them do no harm. Raises SourceError.
        """
        ...

    def forget(self, expr: str) -> None:
        """Forget what is known of a query that will not be asked again."""
        ...


@dataclass(slots=True)
class _Share:
    """What is asked in the place of one query."""

    values: frozenset[str]
    parts: tuple[str, ...]


class SplitSource:
    """Asks a source for the series of some values of a label. Not thread-safe: a job runs one cycle at a time.

    Parameters
    ----------
    source : ListingSource
        May be exchanged.
    job : str
        Its name, for the log.
    label : str
        By which every query may be split (`promql_split.splits_by`).
    owns : callable
        Tells whether the series with a value of the label are ours; those without the label have the value "".
    """

    def __init__(self, source: ListingSource, job: str, label: str, owns: Callable[[str], bool]) -> None:
        self.source, self.label, self.owns = source, label, owns
        self.seen = self.whole = False
        """Whether the label had any value, of whatever replica; whether the last answer was read whole."""
        self.values = 0
        """Values of the label that are ours in the last answer."""
        self._job = job
        self._shares: dict[str, _Share] = {}
        self._labels: dict[str, tuple[list[list[bytes]], list[bytes]]] = {}
        """By query, the labels of the answers to its parts, and all of them as one list."""

    def range(self, expr: str, start: float, end: float, step: float, max_series: int | None = None) -> RangeResult:
        """Evaluate our share of `expr`; see `Source.range`."""
        mine = self._mine(expr, start, end)
        if mine is None:
            return self.source.range(expr, start, end, step, max_series)
        self.values = len(mine - {""})
        frames: list[RangeResult] = []
        left = max_series
        for part in self._parts(expr, mine):
            frame = self.source.range(part, start, end, step, left)
            frames.append(frame)
            left = None if max_series is None or left is None else max(left - len(frame.labels), 1)
        return self._joined(expr, frames)

    def metric_types(self, names: Iterable[str]) -> dict[str, str]:
        """Ask the source; see `Source.metric_types`."""
        return self.source.metric_types(names)

    def _mine(self, expr: str, start: float, end: float) -> frozenset[str] | None:
        """Return the values to ask for; None where the source does not tell which there are."""
        back, ahead = reach(expr)
        try:
            every = self.source.label_values(self.label, selectors(expr), start - back, end + ahead)
            if len(every) >= MOST_VALUES:
                raise BadAnswer(f"{self.label} has {len(every)} values, and of so many a source may leave some out")
        except (BadAnswer, QueryRejected) as error:  # not every source has this API
            if not self.whole:
                hint = "every replica reads the whole answer and keeps its share; another shard_by may help"
                log.warning("share_not_asked", job=self._job, label=self.label, error=str(error), hint=hint)
            self.whole = True
            return None
        self.whole = not every  # then none has the label, or the source is late to say so
        self.seen |= bool(every)
        return frozenset(filter(self.owns, (*every, ""))) if every else None

    def _parts(self, expr: str, values: frozenset[str]) -> tuple[str, ...]:
        before = self._shares.get(expr)
        if before is not None and before.values == values:
            return before.parts
        every = matchers(self.label, values, longest_pattern(expr))
        parts = tuple(with_matcher(expr, each) for each in every)
        for old in () if before is None else set(before.parts) - set(parts):
            self.source.forget(old)
        self._shares[expr] = _Share(values, parts)
        return parts

    def _joined(self, expr: str, frames: list[RangeResult]) -> RangeResult:
        """Return answers that have no series in common as one, with the same list of labels while they stay."""
        if len(frames) < 2:
            return frames[0] if frames else NOTHING
        parts, labels = self._labels.get(expr, ([], []))
        if len(parts) != len(frames) or any(
            one is not frame.labels for one, frame in zip(parts, frames, strict=True)
        ):  # fmt: skip
            labels = list(chain.from_iterable(frame.labels for frame in frames))
            self._labels[expr] = [frame.labels for frame in frames], labels
        return RangeResult(
            labels=labels,
            counts=np.concatenate([frame.counts for frame in frames]),
            times=np.concatenate([frame.times for frame in frames]),
            values=np.concatenate([frame.values for frame in frames]),
            warnings=tuple(dict.fromkeys(chain.from_iterable(frame.warnings for frame in frames))),
            notes=tuple(dict.fromkeys(chain.from_iterable(frame.notes for frame in frames))),
            series_dropped=_summed(frame.series_dropped for frame in frames),
            samples_dropped=_summed(frame.samples_dropped for frame in frames),
            body_bytes=sum(frame.body_bytes for frame in frames),
            retries=sum(frame.retries for frame in frames),
            samples_read=sum(frame.samples_read for frame in frames),
        )


def _summed(dropped: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in dropped:
        total.update(each)
    return dict(total)
