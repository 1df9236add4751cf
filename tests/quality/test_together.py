"""Files put into one job are judged as they are alone."""

import numpy as np
import pytest

from detectors.units import DAY, HOUR, WEEK
from exporter.backtest.read_csv import Series
from exporter.backtest.resample import group
from exporter.backtest.run_files import backtest_groups
from exporter.backtest.settings import Settings
from tests.quality.contestants import TRAINED, judge, without_hold
from tests.quality.together import together

MONDAY = 1_772_409_600.0
STEP = 1800.0


def series(name, start, samples, seed):
    times = start + STEP * np.arange(samples)
    rng = np.random.default_rng(seed)
    values = 50 + 10 * np.sin(2 * np.pi * times / DAY) + rng.standard_t(4, samples)
    values[samples // 2 : samples // 2 + 6] *= 3
    label = np.zeros(samples)
    return Series(name, [str(time) for time in times], times, ("value",), values[None], label)


@pytest.fixture
def files():
    starts = (MONDAY, MONDAY + 2 * WEEK + 3 * HOUR, MONDAY - 5 * WEEK + 4 * DAY)
    return group([series(f"f{at}", start, 500 + 100 * at, at) for at, start in enumerate(starts)], None)


@pytest.mark.parametrize("detector", ["auto", "robust", "seasonal", "half_space_trees"])
def test_the_flags_are_those_of_jobs_of_their_own(files, detector):
    settings = Settings("quality", None, (), detector)
    alone = {each.name: each for run in backtest_groups(files, settings, None, True) for each in run.results}
    jobs = together(files, trained=False)
    assert len(files) == 3
    assert len(jobs) == 1
    found = {each.name: each for run in backtest_groups(jobs, settings, None, True) for each in run.results}
    assert any(each.flag.any() for each in alone.values())
    for name, each in alone.items():
        assert found[name].stamps == each.stamps
        np.testing.assert_array_equal(found[name].flag, each.flag, err_msg=name)
        np.testing.assert_array_equal(found[name].score, each.score, err_msg=name)


def test_the_rows_that_are_trained_on_end_together(files):
    (job,) = together(files, trained=True)
    ends = {int(slots[int(0.15 * len(slots)) - 1]) for slots in job.slots}
    assert len(ends) == 1
    for each, row in zip(job.series, job.values[:, 0], strict=True):
        np.testing.assert_array_equal(row[np.isfinite(row)], each.values[0])


def test_another_grid_is_moved_by_half_a_step_at_most(files):
    before, after = (group([series(name, MONDAY + by, 100, 5)], None)[0] for name, by in (("b", -600), ("a", 600)))
    (job,) = together([*files, before, after], trained=False)
    rows = {each.name: row for each, row in zip(job.series, job.values[:, 0], strict=True)}
    assert np.flatnonzero(np.isfinite(rows["b"]))[0] == np.flatnonzero(np.isfinite(rows["a"]))[0] == 0
    for each in (before, after):
        values = rows[each.series[0].name]
        np.testing.assert_array_equal(values[np.isfinite(values)], each.values[0, 0])


def test_other_steps_stay_apart(files):
    other = Series("g", ["a", "b"], np.array([MONDAY, MONDAY + HOUR]), ("value",), np.ones((1, 2)), np.zeros(2))
    assert len(together([*files, *group([other], None)], trained=False)) == 2


@pytest.mark.parametrize("detector", ["auto", "robust", "autoencoder", "isolation_forest"])
def test_copies_without_hold_change_nothing_and_are_those_of_a_job_without_hold(files, detector):
    if detector in TRAINED:  # a model learns each series once
        pytest.importorskip("torch")
    settings, history = Settings("quality", None, (), detector), "3d" if detector in TRAINED else None
    (job,) = together(files, trained=False)
    held, learnt = (
        {each.name: each for each in backtest_groups([job], settings, history, hold)[0].results}
        for hold in (True, False)
    )
    found, _ = judge(detector, files, history, ranked=True)
    assert len(found) == 2 * len(held) == 6
    for name, each in held.items():
        np.testing.assert_array_equal(found[name].flag, each.flag, err_msg=name)
        np.testing.assert_array_equal(found[without_hold(name)].score, learnt[name].score, err_msg=name)
    if detector == "auto":
        assert any((each.score != learnt[name].score).any() for name, each in held.items())
