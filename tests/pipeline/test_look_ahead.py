"""What a cycle computes while the source computes: at the right times only, and without a trace in what it finds."""

import numpy as np
import pytest

from exporter.source.errors import Unreachable
from exporter.source.meanwhile import question_sent
from tests.pipeline.test_cycle import STEP, Bench
from tests.support.verdicts import key


class Noting:
    """Notes for which times the detector of a job prepares, and has every question take its time."""

    def __init__(self, bench):
        self.times, self.windows = [], []
        detector, source = bench.job.model.detector, bench.source
        self._prepare, self._range = detector.prepare, source.range
        detector.prepare, source.range = self.prepare, self.range

    def prepare(self, coming):
        self.times.append(float(coming.times[-1]))
        self.windows.append(coming.values.copy())
        self._prepare(coming)

    def range(self, *asked, **more):
        question_sent()
        return self._range(*asked, **more)


def bench_of(names="abc", **settings):
    bench = Bench(**settings)
    for name in names:
        bench.put(name, range(200))
    return bench, Noting(bench)


def test_each_minute_is_prepared_for_while_it_is_asked_for():
    bench, noting = bench_of()
    for minute in (50, 51, 52):
        bench.cycle(minute)
    assert noting.times == [51 * STEP, 52 * STEP]  # before the first nothing was known
    assert bench.sample("stage_duration_seconds_count", stage="ahead") == 2


def test_what_is_prepared_is_the_window_without_its_newest_sample():
    bench, noting = bench_of(names="a", window="10m")
    bench.source.series["q"]['{"i": "a"}'].pop(55 * STEP)
    seen = []
    detector = bench.job.model.detector
    score = detector.score
    detector.score = lambda batch: seen.append(batch.values.copy()) or score(batch)
    for minute in range(50, 90):
        bench.cycle(minute)
    assert len(noting.windows) == 39
    for coming, judged in zip(noting.windows, seen[-39:], strict=True):
        assert np.isnan(coming[:, :, -1]).all()
        filled = ~np.isnan(coming[:, :, :-1])
        np.testing.assert_array_equal(coming[:, :, :-1][filled], judged[:, :, :-1][filled])
        assert coming.shape == judged.shape


def test_nothing_is_prepared_where_more_than_the_newest_sample_is_missing_or_nothing_at_all():
    bench, noting = bench_of()
    bench.cycle(50)
    bench.cycle(50)
    bench.cycle(55)
    assert not noting.times
    bench.cycle(56)
    assert noting.times == [56 * STEP]


def test_a_source_that_does_not_answer_leaves_nothing_behind():
    bench, noting = bench_of()
    plain, _ = bench_of()
    bench.cycle(50)
    plain.cycle(50)
    plain_range = bench.source.range

    def fail(*asked, **more):
        question_sent()
        raise Unreachable("down")

    bench.source.range = fail
    with pytest.raises(Unreachable):
        bench.cycle(51)
    bench.source.range = plain_range
    assert noting.times == [51 * STEP]
    for minute in (52, 53):
        one, other = bench.cycle(minute), plain.cycle(minute)
        np.testing.assert_array_equal(one.score, other.score)
        np.testing.assert_array_equal(one.lower, other.lower)


@pytest.mark.parametrize("detector", ["auto", "robust"])
def test_verdicts_are_the_same_as_those_of_a_history_judged_in_one_go(detector):
    """Live and backfilled, with entities that come and go and gaps of any length."""
    live, noting = bench_of(names="", detector=detector, history="2h", max_hold="20m")
    at_once, _ = bench_of(names="", detector=detector, history="2h", max_hold="20m")
    for bench in (live, at_once):
        bench.put("a", range(260))
        bench.put("b", [*range(150), *range(152, 200), *range(240, 260)])
        bench.put("c", range(140, 170))
        bench.put("d", range(0, 260, 2))
        bench.put("e", range(160, 190), 500.0)
        bench.put("e", [*range(160), *range(190, 260)])
    for bench in (live, at_once):
        bench.cycle(130)
    for minute in range(131, 250):
        live.cycle(minute)
    at_once.cycle(249)
    assert len(noting.times) == 119
    one, other = live.verdicts[-119:], at_once.verdicts[-119:]
    assert [verdict.time for verdict in one] == [verdict.time for verdict in other]
    for mine, theirs in zip(one, other, strict=True):
        assert mine.keys == theirs.keys
        for name in ("score", "lower", "upper", "expected", "flag"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name), f"{name} at {mine.time / STEP}")
    assert any(verdict.flag[verdict.keys.index(key(i="e"))] for verdict in one)
