"""A verdict is on the page before its sample is learnt, whatever becomes of the learning."""

import math

import numpy as np
import structlog

from exporter.pipeline.cycle import evaluate
from exporter.sinks.base import EveryVerdict
from tests.pipeline.test_cycle import STEP, Bench
from tests.support.runners import runner_of


class Learning:
    """Notes of which sample the page tells whenever the detector of a job learns, and has it fail on request."""

    def __init__(self, bench):
        detector, page = bench.job.model.detector, bench.page
        self.taken, self.shown, self.seen, self.broken = [], math.nan, [], False
        self.state = detector.state
        self._update, self._publish, self._render = detector.update, page.publish, page.render
        detector.update, page.publish, page.render = self.update, self.publish, self.render

    def publish(self, verdict, fields):
        self._publish(verdict, fields)
        self.taken.append(verdict.time)

    def render(self):
        self._render()
        self.shown = self.taken[-1] if self.taken else math.nan

    def update(self, fresh, frozen, rebaselined):
        self.seen.append((fresh.times[-1], self.shown))
        if self.broken:
            raise MemoryError("no room")
        self._update(fresh, frozen, rebaselined)


class Recorder(EveryVerdict):
    """Keeps the times of the verdicts that it gets."""

    def __init__(self):
        self.times = []

    def record(self, verdict):
        self.times.append(verdict.time)


def bench_of(**settings):
    bench = Bench(**settings)
    for name in "abc":
        bench.put(name, range(200))
    return bench, Learning(bench)


def test_the_page_has_the_verdict_while_its_sample_is_still_to_be_learnt():
    bench, learning = bench_of()
    runner = runner_of(bench)
    for minute in (50, 51, 52):
        runner.cycle(minute * STEP)
    assert learning.seen[-2:] == [(51 * STEP, 51 * STEP), (52 * STEP, 52 * STEP)]
    assert bench.sample("stage_duration_seconds_count", stage="learn") == 3
    assert bench.sample("cycles_total", outcome="success") == 3


def test_the_page_after_the_cycle_tells_that_it_succeeded():
    bench, _ = bench_of()
    runner_of(bench).cycle(50 * STEP)
    assert b'anomaly_exporter_cycles_total{outcome="success",query="job"} 1.0' in bench.page.current.body


def test_samples_missed_are_learnt_before_the_next_is_judged_and_the_newest_alone_is_shown():
    bench, learning = bench_of()
    runner = runner_of(bench)
    runner.cycle(50 * STEP)
    runner.cycle(55 * STEP)
    missed = [(minute * STEP, 50 * STEP) for minute in (51, 52, 53, 54)]
    assert learning.seen[-5:] == [*missed, (55 * STEP, 55 * STEP)]
    assert learning.taken == [50 * STEP, 55 * STEP]


def test_a_sample_that_could_not_be_learnt_was_judged_once_and_the_cycle_failed():
    bench, learning = bench_of()
    recorder = Recorder()
    runner = runner_of(bench, recorder=recorder)
    runner.cycle(50 * STEP)
    learning.broken = True
    with structlog.testing.capture_logs() as logs:
        runner.cycle(51 * STEP)
    assert ("cycle_failed", "internal") in [(line["event"], line.get("reason")) for line in logs]
    assert bench.sample("cycles_total", outcome="error") == 1
    learning.broken = False
    runner.cycle(52 * STEP)
    assert recorder.times == [50 * STEP, 51 * STEP, 52 * STEP]
    assert bench.job.judged == 52 * STEP
    assert runner.health.reason == ""


def test_a_job_that_can_no_longer_learn_loses_its_scores_and_they_do_not_come_back():
    bench, learning = bench_of()
    runner = runner_of(bench)
    runner.cycle(50 * STEP)
    learning.broken = True
    runner.cycle(51 * STEP)
    runner._succeeded -= 1e6
    assert runner.withdraw_old()
    runner.cycle(52 * STEP)
    assert not runner.published
    assert b"\nanomaly_score{" not in bench.page.current.body
    learning.broken = False
    runner.cycle(53 * STEP)
    assert runner.published
    assert b"\nanomaly_score{" in bench.page.current.body


def test_nothing_stays_unlearnt_where_nobody_asks_for_more():
    bench, learning = bench_of()
    bench.cycle(50)
    verdicts = evaluate(bench.job, 51 * STEP)
    next(verdicts)
    assert learning.seen[-1][0] == 50 * STEP
    verdicts.close()
    assert learning.seen[-1][0] == 51 * STEP


def test_what_is_learnt_is_the_same_as_of_one_cycle_for_each_sample():
    states = []
    for minutes in ((50, 51, 52, 53, 54), (50, 54)):
        bench, learning = bench_of()
        runner = runner_of(bench)
        for minute in minutes:
            runner.cycle(minute * STEP)
        states.append(learning.state())
    once, caught_up = states
    for name, array in once.items():
        np.testing.assert_array_equal(array, caught_up[name], err_msg=name)
