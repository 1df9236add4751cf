"""Scores of the newest hours while a long history is replayed; what the whole history says takes their place."""

import itertools
import re

import numpy as np
import pytest
import structlog

from exporter.pipeline.cycle import evaluate
from exporter.service import first_look
from exporter.service.first_look import FirstLook
from exporter.sinks.base import EveryVerdict, NewestVerdict
from exporter.source.errors import Unreachable
from tests.pipeline.test_cycle import STEP, Bench
from tests.support.runners import runner_of

END = 600


class Seen(EveryVerdict, NewestVerdict):
    """A sink that shows no first look, as all but the page, the gauges of a job and the JSON API."""

    def __init__(self):
        self.recorded, self.shown = [], []

    def record(self, verdict):
        self.recorded.append(verdict.time)

    def show(self, verdict, config):
        self.shown.append(verdict.time)

    def withdraw(self, job):
        pass


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    """A first look at 30 samples, as soon as anything is known of how long it will take."""
    monkeypatch.setattr(first_look, "COLUMNS", 30)
    monkeypatch.setattr(first_look, "WORTH", 0.0)
    monkeypatch.setattr("exporter.service.runner.SHOW_INTERVAL", 0.0)
    clock = itertools.count()
    monkeypatch.setattr("exporter.service.runner.Remaining.seen", lambda *_, **__: float(next(clock)))
    monkeypatch.setattr("exporter.service.runner.time.time", lambda: END * STEP)


def bench_of(**settings):
    bench = Bench(**{"window": "20m", "history": "8h", "detector": "robust"} | settings)
    rng = np.random.default_rng(5)
    for name in ("a", "b", "c"):
        values = 10 + rng.normal(size=900)
        values[END - 3 :] += 60.0 * (name == "b")
        bench.source.put("q", {"i": name}, {STEP * minute: float(value) for minute, value in enumerate(values)})
    return bench


def watched(bench, **sinks):
    """Run the first cycle; return the page's body after each sample of the warm-up, and the runner."""
    runner, pages = runner_of(bench, **sinks), []
    show = runner._show_warm_up

    def showing(now):
        show(now)
        bench.page.render()
        pages.append(bench.page.current.body)

    runner._show_warm_up = showing
    runner.cycle(END * STEP)
    return pages, runner


def test_scores_are_shown_long_before_the_history_is_replayed_and_those_of_the_whole_history_in_the_end():
    bench, alone, seen = bench_of(), bench_of(), Seen()
    pages, _ = watched(bench, seen=seen)
    assert re.search(rb'\nanomaly_flag\{i="b",[^}]*\} 1\n', pages[1])
    assert len(pages) > 400
    whole = list(evaluate(alone.job, END * STEP))[-1]
    for field in ("score", "flag", "severity", "since", "expected", "lower", "upper"):
        assert np.array_equal(getattr(bench.job.last, field), getattr(whole, field), equal_nan=True), field
    state, other = bench.job.state(), alone.job.state()
    assert all(np.array_equal(state[name], other[name], equal_nan=state[name].dtype.kind == "f") for name in state)
    assert seen.recorded == seen.shown == [END * STEP]  # messages, audit and lists get the exact verdict alone


def test_status_says_that_it_is_a_first_look_and_for_how_long():
    bench = bench_of()
    with structlog.testing.capture_logs() as logs:
        runner = runner_of(bench)
        show, healths = runner._show_warm_up, []

        def showing(now):
            show(now)
            healths.append(runner.health)

        runner._show_warm_up = showing
        runner.cycle(END * STEP)
    assert all(health.first_look for health in healths)
    assert healths[-1].remaining is not None
    assert not runner.health.first_look
    assert runner.health.remaining is None
    assert bench.sample("warm_up_remaining_seconds") == 0
    assert [line["entities"] for line in logs if line["event"] == "first_look"] == [3]


@pytest.mark.parametrize("settings", [{"history": "50m"}, {"detector": "isolation_forest"}])
def test_without_use_there_is_none(settings):
    pages, _ = watched(bench_of(**settings))
    assert pages
    assert not any(b"\nanomaly_score{" in page for page in pages)


def test_a_warm_up_that_is_soon_done_has_none(monkeypatch):
    monkeypatch.setattr(first_look, "WORTH", 1e9)
    pages, _ = watched(bench_of())
    assert not any(b"\nanomaly_score{" in page for page in pages)


def test_a_first_look_that_fails_leaves_the_warm_up_alone(monkeypatch):
    def failing(*_):
        raise Unreachable("nobody is there", "look after it")

    monkeypatch.setattr(first_look, "evaluate", failing)
    bench = bench_of()
    with structlog.testing.capture_logs() as logs:
        pages, runner = watched(bench)
    assert not any(b"\nanomaly_score{" in page for page in pages)
    assert [line["log_level"] for line in logs if line["event"] == "no_first_look"] == ["warning"]
    assert runner.health.failures == 0
    assert bench.sample("warm_up_ratio") == 1


def test_what_it_shows_is_withdrawn_when_it_is_too_old_and_not_before():
    bench = bench_of()
    runner, old = runner_of(bench), []
    show = runner._show_warm_up

    def showing(now):
        runner._succeeded -= 1e6  # the cycle has been at its warm-up for long
        show(now)
        old.append(runner.withdraw_old())
        if len(old) == 2:
            runner._first_look._failed = True

    runner._show_warm_up = showing
    runner.cycle(END * STEP)
    assert old[:4] == [False, True, False, False]  # published; no newer verdict; nothing is shown any more
    assert runner.published


def test_it_judges_every_step_once():
    bench = bench_of()
    bench.job.begin_cycle()
    for at, _ in enumerate(evaluate(bench.job, END * STEP, should_continue=lambda: False)):
        assert not at
    look = FirstLook.of(bench.job, END * STEP, 100.0)
    assert look is not None
    times = [look.verdict(END * STEP + seconds) for seconds in (0.0, 20.0, STEP, STEP + 59.0, 2 * STEP)]
    assert [None if each is None else each.time / STEP - END for each in times] == [0, None, 1, None, 2]
