"""The past never keeps the present from being judged: whatever the source refuses, all else is read."""

from collections.abc import Callable

import numpy as np
import pytest

from exporter.source import adaptive
from exporter.source.adaptive import AdaptiveReader, read_whole
from exporter.source.chunks import fetch
from exporter.source.errors import (
    BadAnswer,
    DeadlineExceeded,
    LimitExceeded,
    QueryRejected,
    ServerFailed,
    SourceError,
    Throttled,
    Unreachable,
)
from exporter.source.samples import RangeResult
from tests.support.fake import FakeSource
from tests.support.stub import Reply, matrix, serve

STEP = 60.0
COLUMNS = 14 * 1440
"""Two weeks of minutes."""


class Refusing(FakeSource):
    """Holds one series with a sample a minute, its value the number of the minute; refuses what `refuses` says."""

    def __init__(self, refuses: Callable[[int, int], bool], refusal: SourceError) -> None:
        super().__init__()
        self.refuses, self.refusal = refuses, refusal

    def range(self, expr, start, end, step, max_series=None):
        first, last = round(start / step), round(end / step)
        self.asked.append((expr, first, last - first + 1))
        if self.refuses(first, last - first + 1):
            raise self.refusal
        return one_series(np.arange(first, last + 1), step)

    @property
    def sizes(self) -> list[int]:
        return [count for _, _, count in self.asked]


def one_series(columns, step):
    return RangeResult([b'{"i":"a"}'], np.array([len(columns)]), columns * step, columns.astype(float))


def read(source: FakeSource, columns: int = COLUMNS, reader: AdaptiveReader | None = None, **more):
    """Return the values of every column, NaN in gaps, and the gaps."""
    values, gaps = [], []
    for chunk in fetch(source, {"q": "q"}, STEP, 0.0, (columns - 1) * STEP, reader=reader, **more):
        (labels, grid) = chunk.answers[0]
        assert chunk.first == len(values) * STEP
        values += grid[0].tolist() if labels else [np.nan] * chunk.count
        gaps += chunk.stats.gaps
    return np.array(values), gaps


ERRORS = [
    LimitExceeded("a day at most"),
    QueryRejected("no"),
    ServerFailed("no", retryable=False),
    DeadlineExceeded("too late"),
    BadAnswer("cut off"),
    Throttled("no", shorter_helps=True),
    Unreachable("reset", shorter_helps=True),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.reason)
@pytest.mark.parametrize("longest", [1, 7, 1440])
def test_a_source_that_refuses_long_ranges_is_read_in_shorter_ones(error, longest):
    columns = COLUMNS if longest > 7 else 300
    source = Refusing(lambda _, count: count > longest, error)
    values, gaps = read(source, columns)
    np.testing.assert_array_equal(values, np.arange(columns))
    assert not gaps
    assert len(source.asked) < 3 * columns / longest + 30


def test_the_length_is_remembered_and_grows_again():
    source, reader = Refusing(lambda _, count: count > 1440, LimitExceeded("no")), AdaptiveReader(STEP)
    read(source, reader=reader)
    del source.asked[:]
    read(source, reader=reader)
    assert sum(count > 1440 for count in source.sizes) < 3, "what was refused is hardly tried again"
    source.refuses = lambda *_: False
    for _ in range(50):
        read(source, reader=reader)
    del source.asked[:]
    read(source, reader=reader)
    assert max(source.sizes) > 1440


@pytest.mark.parametrize("bad", [range(5000, 5002), range(1), range(300, 5000), range(20157, 20158), range(2, 20000)])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.reason)
def test_times_that_are_refused_alone_are_gaps_and_all_others_are_read(bad, error):
    def holds_a_bad_one(first: int, count: int) -> bool:
        return first < bad.stop and bad.start < first + count

    source = Refusing(holds_a_bad_one, error)
    values, gaps = read(source)
    truth = np.arange(COLUMNS, dtype=float)
    truth[bad.start : bad.stop] = np.nan
    np.testing.assert_array_equal(values, truth)
    assert sum(gap.count for gap in gaps) == len(bad)
    assert {gap.error for gap in gaps} == {error}
    assert len(source.asked) < 200


def test_several_bad_minutes_within_a_limited_length():
    bad = {40, 41, 700, 2000, 9999}
    source = Refusing(lambda first, n: n > 500 or any(first <= b < first + n for b in bad), QueryRejected("ambiguous"))
    values, gaps = read(source)
    assert set(np.flatnonzero(np.isnan(values)).tolist()) == bad
    assert sum(gap.count for gap in gaps) == len(bad)
    assert len(source.asked) < 400


@pytest.mark.parametrize("error", [*ERRORS, Unreachable("refused"), Throttled("later", 30.0)])
def test_a_source_that_answers_nothing_is_asked_twice_and_nothing_is_skipped(error):
    source = Refusing(lambda *_: True, error)
    with pytest.raises(type(error)):
        read(source)
    assert len(source.asked) <= 2


def test_the_newest_time_is_never_skipped():
    source = Refusing(lambda first, count: first + count == COLUMNS, QueryRejected("now"))
    with pytest.raises(QueryRejected, match="now"):
        read(source)


def test_what_was_read_before_a_failure_is_kept_and_a_storm_is_bounded(monkeypatch):
    monkeypatch.setattr(adaptive, "MOST_FAILURES", 50)
    source = Refusing(lambda first, count: any(c % 2 and c > 100 for c in range(first, first + count)) and
                      first + count < COLUMNS, QueryRejected("every second minute"))  # fmt: skip
    read_columns = []
    chunks = (chunk.count for chunk in fetch(source, {"q": "q"}, STEP, 0.0, (COLUMNS - 1) * STEP))
    with pytest.raises(QueryRejected):
        read_columns.extend(chunks)
    assert sum(read_columns) > 100
    assert len(source.asked) < 200


def test_a_channel_with_a_bad_minute_does_not_take_the_others_along():
    class Two(Refusing):
        def range(self, expr, start, end, step, max_series=None):
            if expr == "whole":
                return one_series(np.arange(round(start / step), round(end / step) + 1), step)
            return super().range(expr, start, end, step, max_series)

    source = Two(lambda first, count: first <= 70 < first + count, QueryRejected("ambiguous"))
    chunks = list(fetch(source, {"a": "whole", "b": "bad"}, STEP, 0.0, 999 * STEP))
    whole = np.concatenate([chunk.answers[0][1][0] for chunk in chunks])
    other = [chunk.answers[1][1][0] if chunk.answers[1][0] else np.full(chunk.count, np.nan) for chunk in chunks]
    np.testing.assert_array_equal(whole, np.arange(1000))
    assert np.flatnonzero(np.isnan(np.concatenate(other))).tolist() == [70]


def test_a_whole_range_is_joined_from_its_pieces():
    source = Refusing(lambda first, count: count > 100 or first <= 70 < first + count, LimitExceeded("no"))
    frame, gaps = read_whole(source, "q", 0.0, 999 * STEP, STEP)
    assert frame.times.tolist() == [STEP * column for column in range(1000) if column != 70]
    assert [(gap.start, gap.count) for gap in gaps] == [(70 * STEP, 1)]


REFUSALS = [
    Reply(b"no", status=400),
    Reply(b'{"message":"too big"}', status=422),
    Reply(b"<html>Gateway Time-out</html>", status=504),
    Reply(b"whatever", status=500),
    Reply(b"", status=503),
    Reply(b"", status=413),
    Reply(b"", raw=b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{"),
    Reply(b"", raw=b""),
    Reply(b"<html>login</html>"),
]


@pytest.mark.parametrize("reply", REFUSALS, ids=lambda reply: f"{reply.status} {reply.body[:12] or reply.raw}")
def test_a_server_may_refuse_in_any_words(connect, fast_retries, reply):
    def answer(request):
        start, end = (round(float(request.form[name]) / 60) for name in ("start", "end"))
        if end - start >= 30:
            return reply
        return Reply(matrix(({"i": "a"}, [(60.0 * column, str(column)) for column in range(start, end + 1)])))

    with serve(answer) as stub:
        values, gaps = read(connect(stub.url, retries=0), 200)
    np.testing.assert_array_equal(values, np.arange(200))
    assert not gaps


def test_our_own_limit_on_the_size_of_an_answer_shortens_the_range_too(connect):
    def answer(request):
        start, end = (round(float(request.form[name]) / 60) for name in ("start", "end"))
        return Reply(matrix(({"i": "a"}, [(60.0 * column, str(column)) for column in range(start, end + 1)])))

    with serve(answer) as stub:
        values, _ = read(connect(stub.url, max_response=1000), 500)
    np.testing.assert_array_equal(values, np.arange(500))
