"""What is computed before a sample is there changes nothing: scores, bands and all that is learnt are the same."""

from dataclasses import fields, replace

import numpy as np
import pytest

from detectors import Batch, Detector, make, rolling_baseline
from exporter.pipeline.gap_filling import fill_gaps
from tests.support.batches import batch, keys, noise, walk
from tests.support.every_detector import NETWORKS, every_detector

WINDOW, SAMPLES, FILL = 40, 200, 3
SPECS = {
    "river": {"river": {"parameters": {"n_trees": 3, "height": 4, "window_size": 30}, "warm_up": 30}},
    "ensemble": {"ensemble": {"detectors": ["auto", "robust"]}},
}


def restless(entities: int, channels: int) -> Batch:
    """Return series with incidents, gaps of every length, and samples that are missing right before and at the end."""
    rng = np.random.default_rng(5)
    values = noise(entities, channels, SAMPLES, seed=3)
    values[0, :, 90:105] += 25.0
    values[1, 0, 60:62] = values[2, 0, 70:90] = values[3, :, 40:] = np.nan
    values[4][rng.random((channels, SAMPLES)) < 0.3] = np.nan
    values[5] = 7.0
    values[6, :, :80] = np.nan
    values[7, :, 100:] += 8.0
    return batch(values, until=1_800_000_000.0)


def window(history: Batch, end: int) -> Batch:
    """Return the window before sample number `end`."""
    part = slice(max(end - WINDOW, 0), end)
    return replace(history, times=history.times[part], values=history.values[:, :, part])


def as_it_comes(judge: Batch) -> Batch:
    """Return a window without its newest samples."""
    values = judge.values.copy()
    values[:, :, -1] = np.nan
    return replace(judge, values=values)


def judged(detector: Detector, history: Batch, prepared: bool) -> list[list[np.ndarray]]:
    """Judge and learn every sample; half-way the first entity goes and another one comes."""
    later = replace(history, keys=(*history.keys[1:], *keys(1, "new")), values=np.roll(history.values, -1, axis=0))
    found = []
    for end in range(1, SAMPLES + 1):
        judge = window(history if end <= SAMPLES // 2 else later, end)
        if prepared:
            detector.prepare(fill_gaps(as_it_comes(judge), FILL))
        judge = fill_gaps(judge, FILL)
        judgement = detector.score(judge)
        with np.errstate(invalid="ignore"):
            held = judgement.score > 1
        detector.update(judge.last(1), held, np.zeros(len(held), np.bool_))
        found.append([getattr(judgement, each.name) for each in fields(judgement) if each.name != "streams"])
    return found


def same(one: object, other: object) -> bool:
    return (one is None and other is None) or np.array_equal(one, other, equal_nan=True)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", every_detector(*NETWORKS))
def test_scores_bands_and_what_is_learnt_are_the_same_to_the_bit(name, channels):
    history = restless(9, channels)
    plain, ahead = (make(SPECS.get(name, name), WINDOW) for _ in range(2))
    for detector in (plain, ahead):
        detector.fit(batch(noise(9, channels, 120, seed=1)))
    for at, (one, other) in enumerate(zip(judged(plain, history, False), judged(ahead, history, True), strict=True)):
        assert all(map(same, one, other)), f"the judgements of sample {at} differ"
    one, other = plain.state(), ahead.state()
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[key], other[key], equal_nan=one[key].dtype.kind == "f") for key in one)


def taught(name: str, history: Batch) -> Detector:
    detector = make(SPECS.get(name, name), WINDOW).fit(history)
    walk(detector, replace(history, times=history.times[:150], values=history.values[:, :, :150]), 1)
    return detector


@pytest.mark.parametrize("name", ["auto", "robust", "isolation_forest", "ensemble"])
def test_what_was_prepared_for_another_batch_is_not_used(name):
    history = batch(noise(6, 1, SAMPLES), until=1_800_000_000.0)
    plain, ahead, judge = taught(name, history), taught(name, history), window(history, 152)
    for other in (
        window(history, 151),
        replace(judge, keys=judge.keys[::-1]),
        replace(judge, times=judge.times * 2),
        replace(judge, weekdays=np.full(WINDOW, 6, np.int8)),
        replace(judge, keys=judge.keys[:3], values=judge.values[:3]),
    ):
        ahead.prepare(as_it_comes(replace(other, values=other.values * 3)))
        found, expected = ahead.score(judge), plain.score(judge)
        np.testing.assert_array_equal(found.score, expected.score)
        np.testing.assert_array_equal(found.lower, expected.lower)


@pytest.mark.parametrize("name", ["auto", "robust", "isolation_forest"])
def test_what_was_prepared_before_a_restore_is_not_used(name):
    history = batch(noise(6, 1, SAMPLES), until=1_800_000_000.0)
    plain, ahead, judge = taught(name, history), taught(name, history), window(history, 171)
    state = plain.state()
    walk(ahead, replace(window(history, 170), values=window(history, 170).values + 3.0), WINDOW)
    ahead.prepare(as_it_comes(judge))
    np.testing.assert_array_equal(ahead.restore(state).score(judge).score, plain.restore(state).score(judge).score)


def test_the_level_is_not_computed_twice(monkeypatch):
    rows, plain = [], rolling_baseline.median_and_scale
    monkeypatch.setattr(rolling_baseline, "median_and_scale", lambda some: rows.append(len(some)) or plain(some))
    judge, detector = batch(noise(6, 1, WINDOW)), make("robust", WINDOW)
    judge.values[2, 0, -2] = np.nan
    detector.prepare(as_it_comes(judge))
    assert sum(rows) == 6
    detector.score(judge)
    assert sum(rows) == 7  # of the one with a gap right before the sample it shows only now whether it is filled
