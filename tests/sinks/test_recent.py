"""The memory of the pages: the last samples of every series, within a bound."""

import dataclasses

import numpy as np

from exporter.config.sections.root import Config
from exporter.sinks import recent
from exporter.sinks.recent import RecentVerdicts
from tests.support.verdicts import key, verdict

A, B, C = (key(i=name) for name in "abc")
STEP = 60.0


def remembering(**web) -> RecentVerdicts:
    memory = RecentVerdicts()
    memory.prepare(Config.model_validate({"jobs": {"cpu": {"expr": "q"}}, "web": web})).commit()
    return memory


def at(minute, keys=(A, B), **changed):
    return dataclasses.replace(verdict(keys, **changed), time=minute * STEP)


def test_a_curve_is_what_was_published_in_its_order():
    memory = remembering()
    memory.record(at(1, values=[[1.0], [10.0]]))
    memory.record(at(2, keys=(B, C), values=[[11.0], [100.0]], flag=[True, False], alert=[True, False]))
    curves = memory.curves("cpu", [B, A, C])
    np.testing.assert_array_equal(curves[B].times, [STEP, 2 * STEP])
    np.testing.assert_array_equal(curves[B].value, [[10.0], [11.0]])
    np.testing.assert_array_equal(curves[B].flag, [0.0, 1.0])
    np.testing.assert_array_equal(curves[A].value, [[1.0]])
    np.testing.assert_array_equal(curves[C].times, [2 * STEP])
    assert memory.curves("cpu", [key(i="never seen")]) == {}
    assert memory.curves("other", [A]) == {}


def test_memory_is_bounded_and_series_with_an_incident_are_remembered_for_longer(monkeypatch):
    monkeypatch.setattr(recent, "MOST_BYTES", 10 * 22 * 3)  # ten samples of three series with one channel
    memory = remembering()
    for minute in range(300):
        memory.record(at(minute, keys=(A, B, C), flag=[False, minute > 100, False]))
    curves = memory.curves("cpu", [A, B])
    assert len(curves[A].times) == 10
    assert len(curves[B].times) == recent.MOST_SAMPLES
    np.testing.assert_array_equal(np.diff(curves[B].times), STEP)


def test_of_a_hundred_thousand_series_there_are_seven_samples_each():
    one = recent._Sample(0.0, (), np.zeros((4, 100_000, 1), np.float32), np.zeros(100_000, np.float32),
                         np.zeros(100_000, np.bool_), np.zeros(100_000, np.bool_))  # fmt: skip
    assert recent.MOST_BYTES // one.size == 7


def test_a_removed_job_is_forgotten_and_without_the_pages_nothing_is_kept():
    memory = remembering()
    memory.record(at(1))
    memory.prepare(Config.model_validate({"jobs": {"other": {"expr": "q"}}})).commit()
    assert memory.curves("cpu", [A]) == {}
    off = remembering(ui=False)
    off.record(at(1))
    assert off.curves("cpu", [A]) == {}
