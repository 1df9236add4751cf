"""What the source refuses of the past is a gap of a job; all else is judged, at once and as in a backtest."""

from collections.abc import Callable

import numpy as np
import pytest
from structlog.testing import capture_logs

from exporter.backtest.replay import make_job, replay
from exporter.source.errors import LimitExceeded, QueryRejected, ServerFailed, SourceError
from tests.pipeline.test_cycle import STEP, Bench
from tests.support.fake import FakeSource
from tests.support.runners import runner_of


@pytest.fixture(autouse=True)
def logs():
    """What is logged, unwritten: a traceback takes longer than a cycle."""
    with capture_logs() as lines:
        yield lines


class Refusing(FakeSource):
    """Refuses a range (first and last minute) when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses: Callable[[float, float], SourceError | None] = lambda *_: None

    def range(self, expr, start, end, step, max_series=None):
        if error := self.refuses(start / STEP, end / STEP):
            self.asked.append((expr, start, end))
            raise error
        return super().range(expr, start, end, step, max_series)

    def without(self, *minutes: int) -> None:
        """Refuse every range that holds one of these minutes."""
        said = "the source rejects the query: duplicate series"
        self.refuses = lambda a, b: (
            QueryRejected(said, "correct its expression") if any(a <= minute <= b for minute in minutes) else None
        )


def bench_of(minutes: int, **settings) -> Bench:
    bench = Bench(**settings)
    bench.source = bench.job.source = Refusing()
    bench.put("a", range(minutes + 1))
    return bench


def test_one_bad_minute_in_service_costs_one_cycle(logs):
    """It cost every cycle until it was older than a day: 1,501 of them."""
    bench = bench_of(200)
    bench.source.without(100)
    runner = runner_of(bench)
    for minute in range(60, 140):
        runner.cycle(minute * STEP + 1)
    assert bench.sample("cycles_total", outcome="error") == 1
    assert bench.sample("query_errors_total", reason="query_rejected") == 1
    assert bench.sample("times_not_answered_total", reason="query_rejected") == 1
    assert bench.job.judged == 139 * STEP
    [said] = [line for line in logs if line["event"] == "samples_not_answered"]
    assert said["columns"] == 1
    assert "correct its expression" not in said["error"]


def test_a_bad_hour_in_service_fails_while_it_lasts_and_is_a_gap_afterwards():
    bench = bench_of(400)
    bad = range(100, 160)
    bench.source.without(*bad)
    runner = runner_of(bench)
    asked = 0
    for minute in range(60, 200):
        before = len(bench.source.asked)
        runner.cycle(minute * STEP + 1)
        asked = max(asked, len(bench.source.asked) - before)
    assert bench.sample("cycles_total", outcome="error") == len(bad)
    assert bench.sample("times_not_answered_total", reason="query_rejected") == len(bad)
    assert bench.job.judged == 199 * STEP
    assert asked < 60


@pytest.mark.parametrize("detector", ["robust", "isolation_forest"])
def test_a_bad_minute_in_the_history_does_not_keep_a_job_from_starting(detector):
    bench = bench_of(800, history="12h", detector=detector)
    bench.source.without(300, 301)
    runner_of(bench).cycle(740 * STEP + 1)
    assert bench.sample("cycles_total", outcome="success") == 1
    assert bench.sample("times_not_answered_total", reason="query_rejected") == 2
    assert bench.job.last.states["ready"] == 1


def test_what_is_read_for_a_first_model_is_kept_when_the_source_fails():
    """One piece after the other fails: each cycle goes on from where the last one stopped."""
    bench = bench_of(800, history="12h", detector="isolation_forest")
    runner, left = runner_of(bench), [0]

    def tired(a, b):
        left[0] -= 1
        return None if left[0] >= 0 and b - a < 100 else ServerFailed("tired", retryable=False)

    bench.source.refuses = tired
    for _ in range(20):
        left[0] = 4
        runner.cycle(740 * STEP + 1)
        if bench.job.last is not None:
            break
    assert bench.job.last.states["ready"] == 1
    assert bench.sample("cycles_total", outcome="error") > 1
    assert not bench.job.fit_progress.held


def test_a_length_limit_shortens_the_history_reads_and_not_the_history():
    bench = bench_of(3000, history="2d")
    bench.source.refuses = lambda a, b: LimitExceeded("an hour at most") if b - a > 59 else None
    runner_of(bench).cycle(2990 * STEP + 1)
    assert bench.sample("cycles_total", outcome="success") == 1
    assert bench.job.learnt.since == (2990 - 2879) * STEP


def test_the_backtest_has_the_same_gap_and_the_same_verdicts_as_the_service():
    bench, other = bench_of(400), bench_of(400)
    for each in (bench, other):
        each.source.without(150, 151, 152, 399)
    runner_of(bench).cycle(60 * STEP + 1)
    for minute in range(61, 399):
        runner_of(bench).cycle(minute * STEP + 1)
    live = bench.job.state()
    job = make_job("job", other.config, other.source, hold=True)
    verdicts = list(replay(job, 60, 398, lambda _: None))
    assert [round(v.time / STEP) for v in verdicts] == list(range(60, 399))
    replayed = job.state()
    for name in live:
        if not name.startswith("state_") and live[name].dtype.kind == "f":
            np.testing.assert_array_equal(live[name], replayed[name], err_msg=name)


def test_the_last_minute_of_a_backtest_may_be_a_bad_one():
    bench = bench_of(400)
    bench.source.without(399)
    job = make_job("job", bench.config, bench.source, hold=True)
    verdicts = list(replay(job, 60, 399, lambda _: None))
    assert verdicts[-1].states["stale"] == 1


def test_a_job_that_never_had_a_series_says_so_once(logs):
    bench = Bench()
    runner = runner_of(bench)
    for minute in range(40, 45):
        runner.cycle(minute * STEP + 1)
    assert bench.sample("series", detector="robust", state="empty") == 1
    [said] = [line for line in logs if line["event"] == "no_series"]
    assert said["expr"] == "q"
    assert "is the metric scraped" in said["hint"]
    bench.put("a", range(44, 50))
    runner.cycle(46 * STEP)
    assert bench.sample("series", detector="robust", state="empty") == 0
    bench.source.series.clear()
    for minute in range(50, 120):
        runner.cycle(minute * STEP)
    assert bench.sample("series", detector="robust", state="empty") == 0, "it had one: that is AnomalySeriesVanished"
