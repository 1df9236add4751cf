"""Rows on a grid: every row gets a grid point, no row moves one before it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.backtest.read_csv import Series
from exporter.backtest.resample import group, place, usual_step
from exporter.errors import InputError


def series(name, times, values=None, channels=("v",)):
    values = np.arange(len(times), dtype=float)[None] if values is None else values
    return Series(name, [str(t) for t in times], np.array(times, float), channels, values, None)


def test_the_step_is_the_median_distance_of_later_rows():
    assert usual_step(series("a", [0, 60, 60, 120, 100, 160, 900])) == 60.0
    with pytest.raises(InputError, match="a: fewer than two different timestamps"):
        usual_step(series("a", [5, 5]))


@pytest.mark.parametrize(
    ("times", "slots", "counts"),
    [
        ([0, 60, 120], [0, 1, 2], [1, 1, 1]),
        ([0, 58, 123, 300], [0, 1, 2, 5], [1, 1, 1, 1]),  # late, early, a gap
        ([0, 60, 60, 120], [0, 1, 1, 2], [1, 1, 0, 1]),  # the second of two rows does not count
        ([0, 70, 70, 120], [0, 1, 1, 2], [1, 1, 0, 1]),  # the same where rows come late
        ([0, 60, 120, 60, 120, 180], [0, 1, 2, 1, 2, 3], [1, 1, 1, 0, 0, 1]),  # an hour twice
        ([0, 20, 70, 130], [0, 1, 2, 3], [1, 1, 1, 1]),  # 20 moves on, and those after it
        ([0, 30, 60, 90, 120], [0, 1, 1, 2, 2], [1, 1, 0, 1, 0]),  # more rows than steps
        ([60, 0, 120], [0, 0, 1], [1, 0, 1]),  # before the first row
    ],
)
def test_late_early_double_and_unsorted_rows(times, slots, counts):
    found, counted = place(np.array(times, float), 60.0)
    assert found.tolist() == slots
    assert counted.tolist() == [bool(c) for c in counts]


@given(st.lists(st.integers(0, 3000), min_size=2, max_size=40), st.integers(1, 39))
def test_later_rows_never_move_earlier_ones(times, cut):
    whole, counts = place(np.array(times, float), 60.0)
    part, some = place(np.array(times[:cut], float), 60.0)
    assert part.tolist() == whole[:cut].tolist()
    assert some.tolist() == counts[:cut].tolist()
    assert len(set(whole[counts].tolist())) == counts.sum()


def test_files_with_the_same_clock_and_channels_are_judged_together():
    every = [
        series("a", [0, 60, 120]),
        series("b", [0, 60, 120, 180]),
        series("later", [60, 120, 180]),
        series("slower", [0, 120, 240]),
        series("other", [0, 60, 120], channels=("w",)),
    ]
    groups = group(every, None)
    assert [[member.name for member in each.series] for each in groups] == [
        ["a", "b"],
        ["later"],
        ["slower"],
        ["other"],
    ]
    np.testing.assert_array_equal(groups[0].values[:, 0], [[0, 1, 2, np.nan], [0, 1, 2, 3]])


def test_a_date_far_off_is_an_error_and_not_a_lack_of_memory():
    with pytest.raises(InputError, match="a: 3 rows lie on 16666668 points at the step of 1m; is there a wrong"):
        group([series("a", [0, 60, 1e9])], 60.0)
