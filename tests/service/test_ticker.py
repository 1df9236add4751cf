"""Cycles begin at whole steps, never overlap, and what was missed is counted."""

import threading
from types import SimpleNamespace

from exporter.observe.job_metrics import NO_METRICS, JobMetrics
from exporter.observe.metrics import SelfMetrics
from exporter.service import ticker
from exporter.service.ticker import Ticker


class Clock:
    """The wall clock and the waiting of a ticker: time passes only while it waits or runs."""

    def __init__(self, now, end):
        self.now, self.end = now, end

    def wait(self, seconds):
        self.now += seconds
        return self.now >= self.end


def ran(monkeypatch, step, took, seconds):
    """Run a ticker from a moment after a whole step, each run taking `took` seconds; return its times."""
    clock, metrics, times, running = Clock(1000.0625, 1000.0625 + seconds), SelfMetrics(), [], threading.Lock()
    monkeypatch.setattr(ticker, "time", SimpleNamespace(time=lambda: clock.now))

    def record(now):
        assert running.acquire(blocking=False), "two cycles of a job at once"
        times.append(now)
        clock.now += took
        running.release()

    under_test = Ticker("job", step, record, JobMetrics(metrics, "job", "robust"))
    under_test._stopping = clock
    under_test.start()
    assert under_test.join(60)
    return times, metrics.registry.get_sample_value(
        "anomaly_exporter_cycles_total", {"query": "job", "outcome": "skipped"}
    )


def test_the_first_cycle_runs_at_once_and_the_others_at_whole_steps(monkeypatch):
    times, skipped = ran(monkeypatch, 0.25, 0.0, 1.25)
    assert times == [1000.0625, 1000.25, 1000.5, 1000.75, 1001.0, 1001.25]
    assert not skipped


def test_a_cycle_longer_than_the_step_is_not_overtaken_and_the_missed_ones_are_counted(monkeypatch):  # row 42
    times, skipped = ran(monkeypatch, 0.125, 0.4375, 1.3)
    assert times == [1000.0625, 1000.625, 1001.125]
    assert skipped == 4 + 3 + 3


def test_stop_lets_the_cycle_under_way_finish():
    begun, go, done = threading.Event(), threading.Event(), []

    def slow(now):
        begun.set()
        assert go.wait(60)
        done.append(now)

    under_test = Ticker("job", 60, slow, NO_METRICS)
    under_test.start()
    assert begun.wait(60)
    under_test.stop()
    assert not under_test.join(0)
    go.set()
    assert under_test.join(60)
    assert len(done) == 1
