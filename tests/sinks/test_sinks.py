"""What a sink gets, and that one sink's defect stays its own."""

import threading
from typing import Any

import pytest
import structlog

from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.verdict import Verdict
from exporter.sinks import registry
from exporter.sinks.base import Change, EveryVerdict, NewestVerdict
from exporter.sinks.metrics_page import Page
from exporter.sinks.notify.pages import OurPages
from exporter.sinks.registry import SINKS, Resources, Sinks
from tests.pipeline.test_cycle import STEP, Bench
from tests.support.runners import runner_of
from tests.support.verdicts import key, verdict
from tests.support.waiting import eventually

CONFIG = Config.model_validate({"jobs": {"cpu": {"expr": "up"}}})
JOB = CONFIG.jobs["cpu"]
ONE = verdict((key(i="a"),))


class Every(EveryVerdict):
    def __init__(self) -> None:
        self.times: list[float] = []

    def record(self, verdict: Verdict) -> None:
        self.times.append(verdict.time)


class Newest(NewestVerdict):
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def show(self, verdict: Verdict, config: JobConfig) -> None:
        self.calls.append(("show", verdict.time, config))

    def warm(self, job: str, detector: str, entities: int) -> None:
        self.calls.append(("warm", job, entities))

    def withdraw(self, job: str) -> None:
        self.calls.append(("withdraw", job))


class Broken(Every, Newest):
    """A sink of both kinds in which everything raises while it is broken."""

    def __init__(self) -> None:
        Every.__init__(self)
        Newest.__init__(self)
        self.broken = True

    def record(self, verdict: Verdict) -> None:
        if self.broken:
            raise RuntimeError("defect in record")
        super().record(verdict)

    def show(self, verdict: Verdict, config: JobConfig) -> None:
        if self.broken:
            raise RuntimeError("defect in show")
        super().show(verdict, config)

    def flush(self) -> None:
        if self.broken:
            raise RuntimeError("defect in flush")


def errors(bench: Bench, sink: str) -> float | None:
    return bench.metrics.registry.get_sample_value("anomaly_exporter_sink_errors_total", {"sink": sink})


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.put("a", range(100))
    return bench


def test_one_kind_gets_every_verdict_and_the_other_the_newest(bench: Bench) -> None:
    every, newest = Every(), Newest()
    runner = runner_of(bench, every=every, newest=newest)
    runner.cycle(50 * STEP)
    runner.cycle(54 * STEP)  # after an outage
    assert every.times == [minute * STEP for minute in (50, 51, 52, 53, 54)]
    assert [call[:2] for call in newest.calls] == [("show", 50 * STEP), ("show", 54 * STEP)]
    assert newest.calls[0][2] is bench.config


def test_a_warm_up_is_shown_and_a_retired_job_withdrawn_and_never_shown_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.service.runner.SHOW_INTERVAL", 0.0)
    newest = Newest()
    runner = runner_of(bench, newest=newest)
    runner.cycle(50 * STEP)
    assert newest.calls[0] == ("warm", "job", 1)
    runner.retire()
    assert newest.calls[-1] == ("withdraw", "job")
    seen = len(newest.calls)
    runner.cycle(51 * STEP)
    assert len(newest.calls) == seen


def test_a_sink_that_raises_stops_neither_the_others_nor_the_job_and_is_counted_and_logged_once(bench: Bench) -> None:
    broken, every, newest = Broken(), Every(), Newest()
    runner = runner_of(bench, broken=broken, every=every, newest=newest)
    with structlog.testing.capture_logs() as logs:
        for minute in range(50, 53):
            runner.cycle(minute * STEP)
    assert every.times == [50 * STEP, 51 * STEP, 52 * STEP]
    assert [call[:2] for call in newest.calls] == [("show", minute * STEP) for minute in (50, 51, 52)]
    assert bench.sample("cycles_total", outcome="success") == 3
    assert errors(bench, "broken") == 12, "in each cycle to record, to show, and to flush before and after learning"
    assert errors(bench, "every") is None
    failed = [(line["sink"], line["action"], line["job"]) for line in logs if line["event"] == "sink_failed"]
    assert failed == [("broken", "record", "job"), ("broken", "show", "job"), ("broken", "flush", "")]
    assert broken.calls == [("withdraw", "job")] * 3, "rather nothing than an old verdict"
    broken.broken = False
    runner.cycle(53 * STEP)
    assert (broken.times, errors(bench, "broken")) == ([53 * STEP], 12)


def test_a_new_sink_is_one_entry_of_the_map(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(registry, "SINKS", {**SINKS, "scratch": lambda have: made.append(Newest()) or made[-1]})
    sinks = Sinks.of(Resources.of(SelfMetrics(), OurPages(lambda: "http://me")))
    assert sinks.one(Newest) is made[0]
    sinks.prepare(CONFIG).commit()
    sinks.show(ONE, JOB)
    assert made[0].calls == [("show", ONE.time, JOB)]
    sinks.close(5.0)


@pytest.mark.parametrize("name", SINKS)
def test_every_sink_is_of_a_kind(name: str) -> None:
    assert isinstance(SINKS[name](Resources.of(SelfMetrics(), OurPages(lambda: ""))), EveryVerdict | NewestVerdict)


def test_what_is_prepared_is_discarded_when_a_later_sink_cannot_be_prepared() -> None:
    log: list[str] = []

    class First(Every):
        def prepare(self, config: Config) -> Change:
            return Change(lambda: log.append("commit"), lambda: log.append("discard"))

    class Second(Every):
        def prepare(self, config: Config) -> Change:
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        Sinks(SelfMetrics(), {"first": First(), "second": Second()}).prepare(CONFIG)
    assert log == ["discard"]
    Sinks(SelfMetrics(), {"first": First()}).prepare(CONFIG).commit()
    assert log == ["discard", "commit"]


def test_the_page_renders_itself_and_goes_on_after_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    page, render, failed = Page(SelfMetrics()), Page.render, threading.Event()
    page.start()
    try:
        generation = page.current.generation
        monkeypatch.setattr(page, "render", lambda: failed.set() or 1 / 0)
        page.flush()
        assert failed.wait(20)
        monkeypatch.setattr(page, "render", lambda: render(page))
        page.show(ONE, JOB)
        page.flush()
        assert eventually(lambda: page.current.generation > generation and b'query="cpu"' in page.current.body)
    finally:
        page.close(20)
    assert not [thread for thread in threading.enumerate() if thread.name == "page"]
