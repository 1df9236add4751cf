"""The memory of the pages: the last samples of every series, within a bound."""

import dataclasses

import numpy as np
import pytest

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


def left(values: list[float], since_ago: int, gap_at: int | None = None) -> float:
    """Return how many samples ago one series left its band (4 to 6, expected 5); NaN where it did not."""
    memory, keys = remembering(), (key(a="1"),)
    for at, value in enumerate(values):
        if at != gap_at:
            shown = verdict(keys, values=[[value]], expected=[[5.0]], lower=[[4.0]], upper=[[6.0]])
            memory.record(dataclasses.replace(shown, time=60.0 * at))
    newest = len(values) - 1
    since = np.array([60.0 * (newest - since_ago)])
    (found,) = memory.left_band("cpu", keys, [0], since, 60.0)
    return newest - found / 60


@pytest.mark.parametrize(
    ("values", "since", "ago"),
    [
        ([5, 5, 5, 9, 9, 9], 0, 2),
        ([5, 5, 5, 5.7, 9, 9, 9], 0, 3),  # on its way out
        ([5, 9, 5, 5, 9, 9], 0, 1),  # one odd sample is chance
        ([5, 9, 9, 5, 5, 9, 9], 0, 5),  # a pause is not the end of it
        ([9, 9, 5, 5, 5, 9, 9], 0, 1),  # a longer one is
        ([5, 5, 9, 9, 9, 5], 1, 3),
        ([5, 5, 5, 5, 5, 5], 0, np.nan),  # a mean told it, no sample
    ],
)
def test_a_series_left_its_band_with_the_first_sample_of_the_excursion(values, since, ago):
    assert left(values, since) == pytest.approx(ago, nan_ok=True)


def test_a_missing_sample_is_within_the_band():
    assert left([5, 9, 9, 5, 5, 9, 9], 0, gap_at=3) == 5
    assert left([9, 9, 9, 5, 5, 5, 9, 9], 0, gap_at=4) == 1
