"""By default a new job learns from what the source has, up to two weeks, and says how far that is and why."""

import re

import numpy as np
import pytest
import structlog

from exporter.config.sections.job import JobConfig
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.cycle import evaluate
from exporter.pipeline.history_reach import LONGEST, WARM_UP, find_reach, reach_of
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import JobSettings
from exporter.source.errors import (
    DeadlineExceeded,
    LimitExceeded,
    QueryRejected,
    ServerFailed,
    TooManyPoints,
    Unreachable,
)
from exporter.source.samples import RangeResult
from tests.support.fake import recorded

HOUR, DAY = 3600.0, 86_400.0
NOW = 100 * DAY


class Counted:
    """A source that has so many series, the oldest sample at `begin`; it answers no range longer than `longest`."""

    def __init__(self, series=1, begin=0.0, longest=np.inf, error=None, gap=(0.0, 0.0), scalar=False):
        self.series, self.begin, self.longest, self.gap, self.scalar = series, begin, longest, gap, scalar
        self.error = error or LimitExceeded("the query time range exceeds the limit")
        self.asked = []

    def range(self, expr, start, end, step, max_series=None):
        self.asked.append((expr, start, end, step))
        counting = re.fullmatch(r"count\(\n(.*)\n\)", expr)
        if counting and self.scalar:
            raise QueryRejected("expected type instant vector in aggregation expression, got scalar")
        if end - start > self.longest:
            raise self.error
        times = start + step * np.arange(round((end - start) / step) + 1)
        times = times[(times >= self.begin) & ~((times > self.gap[0]) & (times < self.gap[1]))]
        if counting:
            return RangeResult([b"{}"], np.array([len(times)]), times, np.full(len(times), float(self.series)))
        labels = [b'{"i":"%d"}' % at for at in range(self.series)]
        values = 10 + np.modf(np.sin(12.9898 * times) * 43_758.5)[0]  # the same for the same time
        count = np.full(self.series, len(times))
        return RangeResult(labels, count, np.tile(times, self.series), np.tile(values, self.series))

    def metric_types(self, names):
        return {}


def reach(source, step=60.0, queries=None, jobs=1):
    return find_reach(source, queries or {"value": "q"}, step, HOUR, NOW, jobs)


def test_two_weeks_are_read_where_there_are_as_many():
    source = Counted()
    assert reach(source).seconds == LONGEST
    assert reach(source).limit == "longest"
    (_, start, end, step), *_ = source.asked
    assert (end, step) == (NOW, HOUR)
    assert LONGEST - HOUR <= end - start <= LONGEST


@pytest.mark.parametrize("age", [0.5 * HOUR, 6 * HOUR, 3 * DAY + 1200])
def test_no_more_is_read_than_the_source_has(age):
    found = reach(Counted(begin=NOW - age))
    assert found.limit == "source"
    assert age <= found.seconds <= age + HOUR


def test_a_source_without_anything_gives_a_window():
    found = reach(Counted(begin=NOW + 1))
    assert (found.seconds, found.limit) == (HOUR, "source")


def test_a_gap_does_not_end_the_history():
    assert reach(Counted(gap=(NOW - 5 * DAY, NOW - DAY))).seconds == LONGEST


@pytest.mark.parametrize(
    "error",
    [
        LimitExceeded("exceeds the limit"),
        TooManyPoints("too many", 11_000),
        DeadlineExceeded("too slow"),
        ServerFailed("500"),
        QueryRejected("many-to-many matching"),
    ],
    ids=lambda error: error.reason,
)
def test_where_the_source_refuses_a_range_a_shorter_one_is_asked_for(error):
    found = reach(Counted(longest=DAY, error=error))
    assert (found.seconds, found.limit) == (DAY, "refused")
    assert str(error) in found.hint


@pytest.mark.parametrize("error", [Unreachable("down"), DeadlineExceeded("too slow")], ids=lambda error: error.reason)
def test_a_source_that_answers_nothing_fails_the_cycle_which_asks_again(error):
    source = Counted(longest=-1, error=error)
    job = Job(JobSettings("job", JobConfig(expr="q")), source)
    with pytest.raises(type(error)):
        list(evaluate(job, NOW))
    source.longest, source.begin = np.inf, NOW - 5 * HOUR
    assert list(evaluate(job, NOW))
    assert job.learnt.since <= NOW - 5 * HOUR


def test_a_query_that_cannot_be_counted_costs_the_history_and_not_the_job():
    found = reach(Counted(longest=-1, error=QueryRejected("parse error")))
    assert (found.seconds, found.limit) == (HOUR, "refused")


def test_a_scalar_is_one_series():
    assert reach(Counted(scalar=True, begin=NOW - DAY)).limit == "source"


@pytest.mark.parametrize(
    ("series", "step", "jobs", "days"),
    [
        (10_000, 60, 1, 4.1),
        (1_000, 60, 1, 14),
        (10, 60, 23, 8.6),
        (10, 60, 1, 14),
        (100_000, 60, 1, 0.4),
        (10, 1, 1, 5 / 24),
    ],
)
def test_what_all_jobs_read_is_bounded(series, step, jobs, days):
    found = reach(Counted(series), step=float(step), jobs=jobs)
    assert found.seconds / DAY == pytest.approx(days, rel=0.1)
    assert found.limit == ("longest" if days == 14 else "budget")
    assert found.seconds / step * (series + 200) * jobs <= WARM_UP


@pytest.mark.parametrize(("series", "hours"), [(10, 14 * 24), (100, 8 * 24), (1_000, 20)])
def test_a_detector_that_takes_longer_reads_less(series, hours):
    config = JobConfig.model_validate({"expr": "q", "detector": "river"})
    found = reach_of(JobSettings("job", config), Counted(series), {"value": "q"}, 60, NOW)
    assert found.seconds / HOUR == pytest.approx(hours, rel=0.1)


def test_all_channels_count():
    source = Counted(5_000)
    two = reach(source, queries={"a": "q", "b": "r"})
    assert two.seconds == reach(Counted(10_000)).seconds


def test_a_comment_at_the_end_of_a_query_does_not_hide_the_closing_parenthesis():
    source = Counted()
    reach(source, queries={"value": "q # of the shop"})
    assert source.asked[0][0] == "count(\nq # of the shop\n)"


@pytest.mark.parametrize(("history", "hours", "limit"), [("auto", 6, "source"), ("3h", 3, "asked"), ("1h", 1, "asked")])
def test_the_job_reads_it_and_says_so(history, hours, limit):
    source, metrics = Counted(begin=NOW - 6 * HOUR + 60), SelfMetrics()
    config = JobConfig.model_validate({"expr": "q", "history": history})
    job = Job(JobSettings("job", config), source, recorded(metrics, config))
    with structlog.testing.capture_logs() as logs:
        (last,) = evaluate(job, NOW)
    assert last.time == NOW
    assert job.learnt.since == NOW - hours * HOUR + 60
    labels = {"query": "job", "limit": limit}
    assert metrics.registry.get_sample_value("anomaly_exporter_history_seconds", labels) == hours * HOUR
    (line,) = (line for line in logs if line["event"] == "history")
    assert (line["reach"], line["limit"]) == (f"{hours}h", limit)
    asked = len(source.asked)
    list(evaluate(job, NOW + 60))
    assert len(source.asked) == asked + 1  # how far it reaches is asked once


def test_a_restart_in_the_warm_up_does_not_ask_again_and_goes_on():
    source = Counted(begin=NOW - 6 * HOUR)
    job = Job(JobSettings("job", JobConfig(expr="q")), source)
    turns = iter(range(100))
    list(evaluate(job, NOW, should_continue=lambda: next(turns) < 50))
    assert job.warming
    again = Job(JobSettings("job", JobConfig(expr="q")), source)
    again.restore(job.state())
    source.asked.clear()
    (last,) = evaluate(again, NOW)
    (whole,) = evaluate(Job(JobSettings("job", JobConfig(expr="q")), source), NOW)
    assert not any(expr.startswith("count(") for expr, *_ in source.asked[:1])
    np.testing.assert_array_equal(last.score, whole.score)
