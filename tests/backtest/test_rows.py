"""Rows that lie on no grid: each is a sample of its own, judged by what came before it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.backtest.read_csv import Series
from exporter.backtest.replay import replay_group
from exporter.backtest.resample import by_rows, even, group
from exporter.config.sections.job import JobConfig
from exporter.errors import InputError

STEP, START, ROWS = 60.0, 1_000_020.0, 150
FIELDS = ("score", "severity", "flag", "alert", "expected", "lower", "upper")


def config(**changes):
    return JobConfig.model_validate({"expr": "q", "window": "20m", "detector": "robust", **changes})


def times_of(seed, rows=ROWS):
    return START + np.cumsum(np.random.default_rng(seed).uniform(0.1, 1.9, rows) * STEP).round()


def series(times, channels=1, seed=0):
    values = 10 + np.random.default_rng(seed).normal(size=(channels, len(times)))
    values[0, 60:75] += 40.0
    return Series(
        "a", [str(t) for t in times], np.array(times), tuple(f"c{at}" for at in range(channels)), values, None
    )


@pytest.mark.parametrize(
    ("times", "on_grid"),
    [
        ([0, 60, 120, 600], True),  # a gap
        ([0, 60, 60, 120, 100, 180], True),  # rows of an earlier time are no samples
        ([60 * n + 14 * (n % 3) - 14 * (n > 0) for n in range(100)], True),  # seconds late
        ([0, 60, 120, 140, 240], False),  # two rows on one point
        ([37 * n for n in range(100)], False),  # of other distances
        ([60 * n + 20 * (n > 50) for n in range(100)], False),  # moved
    ],
)
def test_a_file_is_put_on_a_grid_when_no_later_row_is_lost_and_few_are_moved_far(times, on_grid):
    assert even(np.array(times, float), STEP) is on_grid


def test_files_off_the_grid_are_judged_alone_unless_a_step_is_set():
    every = [series(times_of(1)), series(times_of(1)), series(START + STEP * np.arange(ROWS))]
    assert [(len(each.series), each.clock is None) for each in group(every, None)] == [
        (1, True),
        (1, False),
        (1, False),
    ]
    assert all(each.clock is None for each in group(every, STEP))


def test_every_row_has_a_verdict_of_its_own():
    times = times_of(2)
    (only,) = group([series(times)], None)
    record = replay_group("job", config(), only, 1)
    assert only.slots[0].tolist() == list(range(ROWS))
    np.testing.assert_array_equal(only.clock, times)
    assert np.isfinite(record.score[0, 20:]).all()
    assert record.flag[0, 60:75].all()
    assert not record.flag[0, 20:60].any()


def test_a_row_that_is_not_later_repeats_the_verdict_of_the_last_row_up_to_its_time():
    times = np.array([0.0, 37, 37, 80, 10, 120, 300, 299, -5, 310])
    only = by_rows(series(times), STEP)
    assert only.clock.tolist() == [0, 37, 80, 120, 300, 310]
    assert only.slots[0].tolist() == [0, 1, 1, 2, 0, 3, 4, 3, 0, 5]
    assert only.values.shape == (1, 1, 6)


@pytest.mark.parametrize("detector", ["robust", "isolation_forest", "half_space_trees", "auto", "seasonal"])
@pytest.mark.parametrize(("channels", "lead"), [(1, 1), (1, 40), (2, 1)])
def test_rows_on_a_grid_get_the_verdicts_they_get_on_it(detector, channels, lead):
    regular, job = series(START + STEP * np.arange(ROWS), channels), config(detector=detector, history="1d")
    (grid,) = group([regular], STEP)
    one, other = (replay_group("job", job, each, lead) for each in (grid, by_rows(regular, STEP)))
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert np.isnan(other.score[0, : lead - 1]).all()


@settings(max_examples=10)
@given(st.integers(0, 1000), st.integers(1, ROWS - 1), st.sampled_from(["robust", "isolation_forest", "auto"]))
def test_later_rows_never_change_an_earlier_verdict(seed, cut, detector):
    times, job = times_of(seed), config(detector=detector)
    whole = series(times, seed=seed)
    part = Series("a", whole.stamps[:cut], times[:cut], whole.channels, whole.values[:, :cut], None)
    one, other = (replay_group("job", job, by_rows(each, STEP), 1) for each in (whole, part))
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(one, name)[:, :cut], getattr(other, name))


def test_a_gap_does_not_begin_the_entity_anew():
    times = times_of(3)
    times[100:] += 86_400
    record = replay_group("job", config(), by_rows(series(times), STEP), 1)
    assert np.isfinite(record.score[0, 20:]).all()


def test_a_date_far_off_is_an_error_here_too():
    times = times_of(4)
    times[-1] += 1e9
    with pytest.raises(InputError, match=r"a: 150 rows lie on .* is there a wrong timestamp"):
        group([series(times)], None)
