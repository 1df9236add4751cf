"""The one-sort median and scale against the textbook."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from detectors.rolling_baseline import median_and_scale

VALUES = st.one_of(st.just(np.nan), st.integers(-3, 3).map(float), st.floats(-1e6, 1e6))


def textbook(row):
    there = row[np.isfinite(row)]
    if not len(there):
        return np.nan, np.nan, 0
    median = np.median(there)
    deviation = np.abs(there - median)
    scale = 1.4826 * np.median(deviation) or 1.2533 * deviation.mean()
    return median, max(scale, 1e-6 * abs(median) + 1e-12), len(there)


@given(arrays(float, st.tuples(st.integers(1, 6), st.integers(1, 12)), elements=VALUES))
def test_median_and_scale_are_those_of_the_textbook(samples):
    found = np.array(median_and_scale(samples)).T
    np.testing.assert_allclose(found, [textbook(row) for row in samples], rtol=1e-9, atol=1e-9)


def test_more_rows_than_one_block_and_more_axes_than_one():
    samples = np.random.default_rng(0).normal(0, 1, (40, 30, 9))
    samples[3, 4, 5] = np.nan
    median, scale, count = median_and_scale(samples)
    for at in [(0, 0), (3, 4), (39, 29)]:
        np.testing.assert_allclose([median[at], scale[at], count[at]], textbook(samples[at]))


def test_rows_of_many_lengths_are_each_what_they_are_alone():
    random = np.random.default_rng(0)
    samples = random.normal(size=(9000, 30))
    samples[np.arange(30) < random.integers(0, 31, 9000)[:, None]] = np.nan
    samples[600:1200] = 1.0  # blocks without gaps between those with
    found = median_and_scale(samples)
    chosen = [*range(0, 9000, 700), 599, 600, 1023, 1024, 1199, 1200, 8999]
    for row in chosen:
        for one, all_ in zip(median_and_scale(samples[row]), found, strict=True):
            np.testing.assert_array_equal(all_[row], one)
