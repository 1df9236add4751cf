"""An entity goes on with all that was learnt when another series takes over: a rollout, a rename, another key order."""

import json
import zlib

import numpy as np
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.config.sections.job import JobConfig
from exporter.pipeline.cycle import evaluate
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import JobSettings
from exporter.pipeline.window import Window
from exporter.source.samples import RangeResult
from tests.support.fake import FakeSource
from tests.support.windows import extend

STEP = 60.0
ROLLOUT, FAULT, END = 400, 420, 460
"""Minutes: the pods are replaced, memory doubles, the record ends."""
SERVICES = ("cart", "pay", "search")


def level(service: str, minute: int) -> float:
    rng = np.random.default_rng([zlib.crc32(service.encode()), minute])
    return (100.0 + rng.normal(0, 1)) * (2 if service == "pay" and minute >= FAULT else 1)


def rollout(overlap: int, old: str = "a", new: str = "b") -> FakeSource:
    """Return memory by pod; old and new pods are there together for `overlap` minutes, none for as many if negative."""
    source = FakeSource()
    for service in SERVICES:
        before, after = range(ROLLOUT + max(overlap, 0)), range(ROLLOUT - min(overlap, 0), END)
        source.put("q", {"svc": service, "pod": old}, {m * STEP: level(service, min(m, ROLLOUT)) for m in before})
        source.put("q", {"svc": service, "pod": new}, {m * STEP: level(service, m) for m in after})
    return source


def flagged(source, first: int, restart: int | None = None, **options) -> dict[str, list[int]]:
    """Return the minutes of the open incidents by service; cycles run from minute `first` on, one each minute."""
    config = {"expr": "q", "entity": ["svc"], "window": "1h", "history": "5h", "direction": "above"} | options
    settings_ = JobSettings("job", JobConfig.model_validate(config))
    job, found = Job(settings_, source), {}
    for minute in range(first, END):
        if minute == restart:
            state, job = job.state(), Job(settings_, source)
            job.restore(state)
        for verdict in evaluate(job, minute * STEP):
            for row in np.flatnonzero(verdict.flag):
                found.setdefault(dict(verdict.keys[row])["svc"], []).append(round(verdict.time / STEP))
    return found


@pytest.mark.parametrize(("old", "new"), [("a", "b"), ("b", "a")])
@pytest.mark.parametrize("overlap", [0, 5, 15, -1, -10], ids=str)
def test_after_a_rollout_the_entity_goes_on_with_what_it_learnt(overlap, old, new):
    found = flagged(rollout(overlap, old, new), ROLLOUT - 20)
    assert set(found) == {"pay"}
    assert FAULT <= found["pay"][0] <= FAULT + 3
    assert found["pay"] == list(range(found["pay"][0], END))


@pytest.mark.parametrize("restart", [ROLLOUT + 1, ROLLOUT + 10, FAULT + 5])
def test_the_same_after_a_restart(restart):
    source = rollout(5)
    assert flagged(source, ROLLOUT - 20, restart) == flagged(source, ROLLOUT - 20)


def test_the_same_for_a_backfill_over_the_rollout():
    source = rollout(5)
    lived = flagged(source, ROLLOUT - 20)
    assert flagged(source, FAULT + 20)["pay"] == [m for m in lived["pay"] if m >= FAULT + 20]


def test_a_renamed_metric_is_the_same_entity():
    source = FakeSource()
    for service in SERVICES:
        old = {m * STEP: level(service, m) for m in range(ROLLOUT)}
        new = {m * STEP: level(service, m) for m in range(ROLLOUT, END)}
        source.put("q", {"__name__": "process_mem_bytes", "svc": service}, old)
        source.put("q", {"__name__": "process_memory_bytes", "svc": service}, new)
    found = flagged(source, ROLLOUT - 20, entity=None)
    assert set(found) == {"pay"}
    assert FAULT <= found["pay"][0] <= FAULT + 3


class Shuffled(FakeSource):
    """Writes the labels of each series in another order in every answer."""

    def range(self, expr, start, end, step, max_series=None) -> RangeResult:
        got, turn = super().range(expr, start, end, step, max_series), len(self.asked) % 2
        labels = [
            json.dumps(dict(sorted(json.loads(each).items(), reverse=bool(turn)))).encode() for each in got.labels
        ]
        return RangeResult(labels, got.counts, got.times, got.values)


def test_labels_in_another_order_are_the_same_entity():
    source = Shuffled()
    for service in SERVICES:
        source.put("q", {"svc": service, "az": "x"}, {m * STEP: level(service, m) for m in range(END)})
    found = flagged(source, ROLLOUT, entity=None)
    assert set(found) == {"pay"}
    assert FAULT <= found["pay"][0] <= FAULT + 3


def test_the_same_labels_twice_in_one_answer_are_one_entity_and_counted_once():
    source = FakeSource()
    for labels in ({"svc": "a", "az": "x"}, {"az": "x", "svc": "a"}):
        source.put("q", labels, {m * STEP: 1.0 for m in range(40)})
    window = Window(("value",), STEP, 10)
    batch, intakes = extend(window, source, 30 * STEP)
    assert len(batch.keys) == 1
    assert intakes[-1].series_dropped == {"duplicate": 1}


PODS = st.lists(
    st.tuples(st.sampled_from("ab"), st.lists(st.booleans(), min_size=24, max_size=24)), min_size=1, max_size=5
)


@settings(max_examples=150)
@given(PODS, st.lists(st.integers(1, 4), min_size=1, max_size=12), st.permutations(range(5)))
def test_at_every_time_the_first_in_the_order_of_labels_counts_however_it_is_read(pods, hops, order):
    """Read at once, minute by minute or after a restart, in any order of the answer: the same samples."""
    source, size = FakeSource(), 6
    for at in (n for n in order if n < len(pods)):
        service, there = pods[at]
        source.put("q", {"svc": service, "pod": str(at)}, {m * STEP: float(at) for m in range(24) if there[m]})

    def expected(service, minute):
        at = [n for n, (svc, there) in enumerate(pods) if svc == service and 0 <= minute < 24 and there[minute]]
        return float(at[0]) if at else np.nan

    window, minute = Window(("value",), STEP, size, entity=["svc"]), 5
    for hop in hops:
        again = Window(("value",), STEP, size, entity=["svc"], keys=window.keys)
        for each in (window, again):
            batch, _ = extend(each, source, minute * STEP)
            for row, key in enumerate(batch.keys):
                seen = batch.values[row, 0]
                true = np.array([expected(dict(key)["svc"], round(t / STEP)) for t in batch.times])
                lost = np.isnan(seen) & ~np.isnan(true)  # forgotten meanwhile: older samples are not read again
                np.testing.assert_array_equal(seen[~lost], true[~lost])
                assert not lost[-1]
                assert each is window or not lost.any()
        minute += hop


def test_two_samples_at_one_time_are_counted_and_said_with_the_entity():
    source = FakeSource()
    for pod in ("p1", "p2"):
        source.put("q", {"svc": "a", "pod": pod}, {n * STEP: float(n % 7) for n in range(200)})
    config = JobConfig.model_validate({"expr": "q", "entity": ["svc"], "window": "30m", "history": "1h"})
    job = Job(JobSettings("job", config), source)
    with structlog.testing.capture_logs() as logs:
        list(evaluate(job, 100 * STEP))
        list(evaluate(job, 101 * STEP))
    said = [line for line in logs if line["event"] == "series_dropped"]
    assert len(said) == 1
    assert said[0]["duplicate"] == 1
    assert "first in the order of" in said[0]["hint"]
