"""Ranges that the source will not answer whole: read in pieces, and without the times that it cannot answer at all.

A source may refuse a range for its length, its samples, its bytes, its memory or its time; it may also refuse every
range that holds one bad minute. The past must not keep the present from being judged: a refused range is halved, and
what was read is kept. A time that is refused alone while the newest one is answered is a gap: no sample is there.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final

from exporter.source.errors import SourceError
from exporter.source.range_length import RangeLength
from exporter.source.samples import NOTHING, RangeResult, Source, join

MOST_FAILURES: Final = 1000
"""Failed requests after which a read gives up; the next one goes on from there."""
SINGLY: Final = 8
"""Columns skipped one by one; the end of a longer gap is searched for in growing steps, then between two of them."""
LONGEST: Final = 11_000
"""Columns asked for at once: what Prometheus answers, and a bound on what a failure further on can lose."""

Ask = Callable[[int, int], RangeResult]
"""Asks for so many columns from one on."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Times that the source does not answer, though it answers the newest one.

    Parameters
    ----------
    start : float
        Unix seconds of the first.
    count : int
        Columns.
    error : SourceError
        What the source said.
    """

    start: float
    count: int
    error: SourceError


@dataclass(slots=True)
class _Known:
    """What is known of one query."""

    length: RangeLength = field(default_factory=RangeLength)
    start: int = -1
    end: int = -1
    """Columns of the last gap, without `end`."""
    error: SourceError | None = None

    def left_out(self, column: int) -> int:
        """Return how many columns from this one on the source is known not to answer."""
        return self.end - column if self.start <= column < self.end else 0

    def skip(self, first: int, end: int, error: SourceError) -> None:
        """Note that columns are refused even alone."""
        self.start = self.start if first == self.end else first
        self.end, self.error = end, error.with_traceback(None)  # it is kept; what it was raised in shall not be
        self.length.skip()


class AdaptiveReader:
    """Reads ranges of queries in pieces as long as the source answers them, and remembers for each how long that is.

    Parameters
    ----------
    step : float
        Seconds from one column to the next.
    origin : float
        Unix seconds of column 0.
    """

    def __init__(self, step: float, origin: float = 0.0) -> None:
        self._step, self._origin = step, origin
        self._known: dict[str, _Known] = {}
        self._failures = 0

    def begin(self) -> None:
        """Begin to count failures anew."""
        self._failures = 0

    def read(
        self, source: Source, query: str, first: int, count: int, newest: int, max_series: int | None = None
    ) -> tuple[RangeResult, int, Gap | None]:
        """Return the samples of the first columns of a range, how many columns these are, and the gap if it is one.

        Raises SourceError when the source does not answer the column `newest` either, when no shorter range would
        help, and after `MOST_FAILURES`.

        Parameters
        ----------
        source : Source
        query : str
            PromQL.
        first, count : int
            The range.
        newest : int
            A column that is never skipped: where it is refused too, nothing is wrong with the others.
        max_series : int or None
            As for the source.
        """
        known = self._known.setdefault(query, _Known())
        ask = partial(self._ask, source, query, max_series)
        wanted = min(count, LONGEST)
        if not (left_out := known.left_out(first)):
            count, frame = self._answered(ask, known, first, wanted, newest)
            if frame is not None:
                return frame, count, None
            left_out = known.left_out(first)
        assert known.error is not None
        count = min(wanted, left_out)
        return NOTHING, count, Gap(self._origin + first * self._step, count, known.error)

    def _answered(self, ask: Ask, known: _Known, first: int, count: int, newest: int) -> tuple[int, RangeResult | None]:
        """Return as many columns as are answered, None where the first is refused even alone: `known` has the gap."""
        count, alive = int(min(count, known.length.most)), False
        while True:
            try:
                frame = ask(first, count)
                break
            except SourceError as error:
                if not error.shorter_helps or first == newest:
                    raise
                if not alive or count == 1:  # a source that is down is not asked for ever shorter ranges
                    ask(newest, 1)
                    alive = True
                if count == 1:
                    if first != known.end and error.retryable and (again := _alone(ask, first)) is not None:
                        frame = again  # the failure had nothing to do with this column
                        break
                    known.skip(first, self._end_of_gap(ask, known, first, newest), error)
                    return 0, None
                known.length.refuse(first, count)
                count = int(known.length.most)
        known.length.answer(first, count)
        return count, frame

    @staticmethod
    def _end_of_gap(ask: Ask, known: _Known, first: int, newest: int) -> int:
        """Return the column after those that are refused, if `first` is; of a long gap all are refused in a row."""
        row = first - known.start + 1 if first == known.end else 1
        if row <= SINGLY:
            return first + 1
        refused, answered, ahead = first, newest, row
        while (at := refused + ahead) < newest:
            if _alone(ask, at) is not None:
                answered = at
                break
            refused, ahead = at, 2 * ahead
        while answered - refused > 1:
            middle = (answered + refused) // 2
            if _alone(ask, middle) is None:
                refused = middle
            else:
                answered = middle
        ask(newest, 1)  # the source may have stopped to answer meanwhile
        return answered

    def _ask(self, source: Source, query: str, max_series: int | None, first: int, count: int) -> RangeResult:
        start, last = (self._origin + column * self._step for column in (first, first + count - 1))
        try:
            return source.range(query, start, last, self._step, max_series)
        except SourceError as error:
            self._failures += 1
            if self._failures >= MOST_FAILURES:
                error.shorter_helps = False
            raise


def _alone(ask: Ask, column: int) -> RangeResult | None:
    """Return one column, None where it is refused. Raises SourceError when the source answers nothing at all."""
    try:
        return ask(column, 1)
    except SourceError as error:
        if not error.shorter_helps:
            raise
        return None


def told(gaps: Sequence[Gap], step: float) -> dict[str, object]:
    """Return what a log says of gaps: how many columns, from when to when, and why."""
    first, last = min(gap.start for gap in gaps), max(gap.start + (gap.count - 1) * step for gap in gaps)
    return {
        "columns": sum(gap.count for gap in gaps),
        "first": datetime.fromtimestamp(first, UTC).isoformat(),
        "last": datetime.fromtimestamp(last, UTC).isoformat(),
        "error": gaps[-1].error.what,
        "hint": "a gap: the source answers the newest time and not these; what comes after them is judged",
    }


def read_whole(
    source: Source,
    query: str,
    start: float,
    end: float,
    step: float,
    max_series: int | None = None,
    at_once: int = LONGEST,
) -> tuple[RangeResult, list[Gap]]:
    """Return what `source.range` does, read in pieces of `at_once` columns at most, and the times not answered.

    Raises SourceError when the source does not answer the present either.
    """
    reader, frames, gaps, at = AdaptiveReader(step, start), [], [], 0
    columns = math.floor((end - start) / step + 1e-6) + 1
    newest = max(columns - 1, math.floor((time.time() - start) / step))
    while at < columns:
        frame, count, gap = reader.read(source, query, at, min(columns - at, at_once), newest, max_series)
        frames.append(frame)
        if gap is not None:
            gaps.append(gap)
        at += count
    return join(frames), gaps
