"""Blocks that are worked on side by side: the same results to the bit."""

import numpy as np
import pytest

from detectors import make
from detectors.blocks import over, side_by_side, slices
from tests.support.batches import batch, noise


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 1024, 1025, 5000, 40_000])
def test_slices_cover_every_row_once(threads, count):
    with side_by_side(threads):
        found = slices(count, 1024)
    assert [row for part in found for row in range(count)[part]] == list(range(count))


def test_threads_have_the_same_number_of_blocks():
    with side_by_side(2):
        assert len(slices(5000, 1024)) == 2
        assert len(slices(30_000, 1024)) == 6
    assert len(slices(5000, 1024)) == 5


def test_an_error_in_a_block_is_raised():
    with side_by_side(2), pytest.raises(ZeroDivisionError):
        over(lambda part: 1 // part, [1, 0])


@pytest.mark.parametrize(("channels", "entities"), [(1, 2500), (2, 1100)])
def test_auto_side_by_side_learns_and_scores_the_same_to_the_bit(channels, entities):
    history = noise(entities, channels, 150, seed=3)
    history[::7, :, 60:] = np.nan
    history[5::11, :, 90:] += 40  # incidents
    plain, threaded = make("auto", 30), make("auto", 30)
    whole, held, ever = batch(history), np.zeros(entities, np.bool_), False
    for end in range(2, 150):
        window = type(whole)(whole.keys, whole.channels, whole.times[:end], whole.values[:, :, :end]).last(30)
        expected = plain.score(window)
        with side_by_side(3):
            found = threaded.score(window)
            threaded.update(window.last(1), held, np.zeros_like(held))
        plain.update(window.last(1), held, np.zeros_like(held))
        for field in ("score", "expected", "lower", "upper", "contribution", "direction"):
            assert np.array_equal(getattr(found, field), getattr(expected, field), equal_nan=True), field
        held = np.nan_to_num(found.score) > 1
        ever |= held.any()
    assert ever
    state, other = plain.state(), threaded.state()
    assert all(np.array_equal(state[name], other[name], equal_nan=state[name].dtype.kind == "f") for name in state)
