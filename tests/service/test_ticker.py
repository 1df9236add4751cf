"""Cycles begin at whole steps, never overlap, and what was missed is counted."""

import threading
import time

from exporter.observe.metrics import SelfMetrics
from exporter.service.ticker import Ticker


def ran(step, run, seconds):
    metrics, times = SelfMetrics(), []

    def record(now):
        times.append(now)
        run()

    clock = Ticker("job", step, record, metrics)
    clock.start()
    time.sleep(seconds)
    clock.stop()
    assert clock.join(5)
    return times, metrics.registry.get_sample_value(
        "anomaly_exporter_cycles_total", {"query": "job", "outcome": "skipped"}
    )


def test_the_first_cycle_runs_at_once_and_the_others_at_whole_steps():
    times, skipped = ran(0.25, lambda: None, 1.2)
    assert 4 <= len(times) <= 7
    assert all(t % 0.25 < 0.2 for t in times[1:])
    assert len({int(t // 0.25) for t in times[1:]}) == len(times) - 1
    assert not skipped


def test_a_cycle_longer_than_the_step_is_not_overtaken_and_the_missed_ones_are_counted():  # row 42
    running = threading.Lock()

    def slow():
        assert running.acquire(blocking=False), "two cycles of a job at once"
        time.sleep(0.35)
        running.release()

    times, skipped = ran(0.1, slow, 1.3)
    assert 2 <= len(times) <= 5
    assert skipped >= 2 * (len(times) - 1)


def test_stop_lets_the_cycle_under_way_finish():
    done = []

    def slow():
        time.sleep(0.3)
        done.append(True)

    times, _ = ran(60, slow, 0.1)
    assert len(times) == len(done) == 1
