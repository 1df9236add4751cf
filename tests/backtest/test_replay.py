"""The backtest is the live cycle: the same verdicts, and none that knew the future."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.backtest.read_csv import Series
from exporter.backtest.replay import ENTITY, replay_group
from exporter.backtest.resample import group
from exporter.config.sections.job import JobConfig
from exporter.pipeline.cycle import evaluate
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import JobSettings
from tests.support.fake import FakeSource

STEP = 60.0
START = 1_000_020.0
FIELDS = ("score", "severity", "flag", "alert", "expected", "lower", "upper")


def entity(name, values, start=START):
    """Return a series of values, shape (C, N); NaN rows are left out as a file would."""
    times = start + STEP * np.arange(values.shape[1])
    there = np.isfinite(values).any(axis=0)
    channels = tuple(f"c{at}" for at in range(len(values)))
    return Series(name, [str(t) for t in times[there]], times[there], channels, values[:, there], None)


def config(**changes):
    return JobConfig.model_validate({"expr": "q", "window": "20m", "detector": "robust", **changes})


def example(seed, entities=3, channels=1, rows=150):
    rng = np.random.default_rng(seed)
    values = 10 + rng.normal(size=(entities, channels, rows))
    values[0, :, 60:75] = 40.0
    values[1, :, 80:84] = np.nan
    values[-1, 0, 100:130] = np.nan
    values[:, :, 140] = np.nan
    return values


def replayed(values, job, lead=1, hold=True):
    series = [entity(f"e{at}", each) for at, each in enumerate(values)]
    (only,) = group(series, STEP)
    return replay_group("job", job, only, lead, hold)


def live(values, job, first=0):
    """Feed the live cycle sample by sample; return a record of its verdicts by entity and time."""
    source = FakeSource()
    channels = {f"c{at}": f"c{at}" for at in range(values.shape[1])}
    job = job.model_copy(update={"expr": None, "channels": channels, "rate": False})
    running = Job(JobSettings("job", job), source)
    found = []
    for column in range(values.shape[2]):
        now = START + STEP * column
        for row, channel in np.argwhere(np.isfinite(values[:, :, column])):
            source.put(f"c{channel}", {ENTITY: f"e{row}"}, {now: values[row, channel, column]})
        if column >= first:
            found += evaluate(running, now)
    return found


def same(record, verdicts, first=0):
    row_of = {key: row for row, key in enumerate(record.keys)}
    assert len(verdicts) == record.score.shape[1] - first
    for column, verdict in enumerate(verdicts, first):
        rows = [row_of[key] for key in verdict.keys]
        for name in FIELDS:
            mine, theirs = getattr(record, name)[rows, column], getattr(verdict, name)
            if theirs.ndim == 2:
                theirs = theirs[np.arange(len(rows)), record.channel[rows, column]]
            np.testing.assert_array_equal(mine, theirs, err_msg=f"{name} at {column}")
        others = np.setdiff1d(np.arange(len(row_of)), rows)
        assert np.isnan(record.score[others, column]).all()


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("detector", ["robust", "isolation_forest", "half_space_trees", "auto", "seasonal"])
def test_verdicts_equal_those_of_the_live_cycle_fed_sample_by_sample(detector, channels):
    values, job = example(1, channels=channels), config(detector=detector)
    record = replayed(values, job)
    same(record, live(values, job))
    assert record.flag[0, 60:75].any() or detector == "auto"  # which flags nothing in the first hours
    assert np.isfinite(record.score).any(axis=1).all()


@pytest.mark.parametrize("detector", ["robust", "isolation_forest"])
@pytest.mark.parametrize("lead", [30, 50])
def test_a_start_with_history_equals_a_live_start_at_that_moment(detector, lead):
    values, job = example(2), config(detector=detector)
    record = replayed(values, job, lead)
    running = live(values, job.model_copy(update={"history": lead * STEP}), first=lead - 1)
    same(record, running, first=lead - 1)
    assert np.isnan(record.score[:, : lead - 1]).all()
    assert not record.flag[:, : lead - 1].any()


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 149), st.sampled_from(["robust", "isolation_forest", "auto"]))
def test_what_comes_later_never_changes_an_earlier_verdict(seed, cut, detector):
    values, job = example(seed), config(detector=detector)
    whole, part = replayed(values, job), replayed(values[:, :, :cut], job)
    for name in FIELDS:
        mine, theirs = getattr(part, name), getattr(whole, name)[: len(part.keys)]
        np.testing.assert_array_equal(mine, theirs[:, : mine.shape[1]])


def test_without_hold_an_outage_becomes_normal_and_the_flag_policy_stays():
    values = 10 + np.random.default_rng(3).normal(size=(1, 1, 200))
    values[0, 0, 60:180] += 30.0
    held, learnt = replayed(values, config()), replayed(values, config(), hold=False)
    assert held.flag[0, 60:180].all()
    assert learnt.flag[0, 60]
    assert not learnt.flag[0, 120:170].any()
    np.testing.assert_array_equal(held.score[0, :61], learnt.score[0, :61])


def test_a_silence_longer_than_the_window_starts_the_entity_anew():
    values = example(4, entities=2)
    values[0, 0, 40:90] = np.nan
    same(replayed(values, config()), live(values, config()))


def test_times_off_the_whole_step_are_judged_alike():
    values = example(5)
    series = [entity(f"e{at}", each, start=START + 17.5) for at, each in enumerate(values)]
    (only,) = group(series, None)
    shifted = replay_group("job", config(), only, 1)
    np.testing.assert_array_equal(shifted.score, replayed(values, config()).score)
