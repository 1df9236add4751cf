"""Short gaps are filled, long ones stay; what is not there is never judged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from exporter.pipeline.gap_filling import fill_gaps
from tests.support.batches import batch

N = np.nan


@pytest.mark.parametrize(
    ("before", "limit", "after"),
    [
        ([1, N, 3], 1, [1, 1, 3]),
        ([1, N, N, 4], 1, [1, N, N, 4]),
        ([1, N, N, 4], 2, [1, 1, 1, 4]),
        ([N, 2, 3], 1, [2, 2, 3]),
        ([N, N, 3], 1, [N, N, 3]),
        ([1, 2, N], 5, [1, 2, N]),
        ([1, N, N], 5, [1, N, N]),
        ([1, N, 3], 0, [1, N, 3]),
        ([N, N, N], 5, [N, N, N]),
    ],
)
def test_gaps_up_to_the_limit_are_filled_from_their_neighbours(before, limit, after):
    filled = fill_gaps(batch(np.array([[before]], float)), limit)
    np.testing.assert_array_equal(filled.values[0, 0], after)


@given(arrays(float, (3, 2, 12), elements=st.sampled_from([N, 1.0, 2.0])), st.integers(0, 5))
def test_samples_stay_and_the_newest_is_never_invented(values, limit):
    original = values.copy()
    filled = fill_gaps(batch(values), limit).values
    np.testing.assert_array_equal(values, original)
    present = ~np.isnan(original)
    np.testing.assert_array_equal(filled[present], original[present])
    np.testing.assert_array_equal(np.isnan(filled[:, :, -1]), np.isnan(original[:, :, -1]))


def test_nothing_to_fill_costs_no_copy():
    whole = batch(np.ones((2, 1, 5)))
    assert fill_gaps(whole, 3) is whole


@given(arrays(float, (3, 2, 8), elements=st.sampled_from([N, 1.0, 2.0])), st.integers(0, 5), st.integers(0, 4))
def test_a_beginning_without_samples_fills_as_it_does_for_each_series_alone(values, empty, limit):
    values = np.concatenate([np.full((3, 2, empty), N), values], axis=2)
    filled = fill_gaps(batch(values), limit).values
    for entity in range(3):
        for channel in range(2):
            beside = np.concatenate([values[entity : entity + 1, channel : channel + 1], np.ones((1, 1, 8 + empty))])
            np.testing.assert_array_equal(filled[entity, channel], fill_gaps(batch(beside), limit).values[0, 0])
