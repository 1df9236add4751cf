"""Long blocks of a warm-up: the same results to the bit as those of a cycle."""

import numpy as np
import pytest

from detectors import make
from detectors.blocks import LONG, long_blocks, slices
from tests.support.batches import batch, noise


@pytest.mark.parametrize("long", [False, True])
@pytest.mark.parametrize("count", [0, 1, 1024, 1025, 5000, 40_000])
def test_slices_cover_every_row_once(long, count):
    with long_blocks(long):
        found = slices(count, 1024)
    assert [row for part in found for row in range(count)[part]] == list(range(count))
    assert all(len(range(count)[part]) <= (LONG * 1024 if long else 1024) for part in found)


@pytest.mark.parametrize(("channels", "entities"), [(1, 2500), (2, 1100)])
def test_auto_learns_and_scores_the_same_in_long_blocks_to_the_bit(channels, entities):
    history = noise(entities, channels, 150, seed=3)
    history[::7, :, 60:] = np.nan
    history[5::11, :, 90:] += 40  # incidents
    plain, other = make("auto", 30), make("auto", 30)
    whole, held, ever = batch(history), np.zeros(entities, np.bool_), False
    for end in range(2, 150):
        window = type(whole)(whole.keys, whole.channels, whole.times[:end], whole.values[:, :, :end]).last(30)
        expected = plain.score(window)
        with long_blocks(end % 3 != 0):
            found = other.score(window)
        with long_blocks(end % 2 != 0):
            other.update(window.last(1), held, np.zeros_like(held))
        plain.update(window.last(1), held, np.zeros_like(held))
        for field in ("score", "expected", "lower", "upper", "contribution", "direction"):
            assert np.array_equal(getattr(found, field), getattr(expected, field), equal_nan=True), field
        held = np.nan_to_num(found.score) > 1
        ever |= held.any()
    assert ever
    state, of_other = plain.state(), other.state()
    assert all(np.array_equal(state[name], of_other[name], equal_nan=state[name].dtype.kind == "f") for name in state)
