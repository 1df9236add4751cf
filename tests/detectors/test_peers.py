"""Entities beside their peers: what is raised, what is not, and what nobody can tell."""

import numpy as np
import pytest

from detectors import Batch, make
from detectors.peers.groups import Groups
from tests.support.batches import batch, keys

MINUTES = 600
"""Samples of a history."""


def members(groups: int, size: int) -> tuple:
    return tuple((("group", f"g{n // size}"), ("member", f"m{n}")) for n in range(groups * size))


def series(rng: np.random.Generator, groups: int, size: int, samples: int, noise: float = 0.05) -> np.ndarray:
    """Return series of groups that move together, by a factor of two within hours; each with its own ratio."""
    common = 100 * 2 ** np.sin(np.arange(samples) / 200 + rng.uniform(0, 6, groups)[:, None])
    ratio = rng.lognormal(0, 1, (groups * size, 1))
    values = np.repeat(common, size, axis=0) * ratio
    return values * (1 + noise * rng.standard_t(6, values.shape))


def scores(names: tuple, values: np.ndarray, spec: object = "peers", peers: tuple = ("group",)) -> np.ndarray:
    """Return the scores (E, N) of series (E, N) or (E, C, N); a score above 1 is an incident."""
    values = values if values.ndim == 3 else values[:, None]
    detector, found = make(spec, 60, peers), []
    channels = tuple(f"c{at}" for at in range(values.shape[1]))
    times = 60.0 * np.arange(values.shape[2])
    for end in range(2, values.shape[2] + 1):
        part = Batch(names, channels, times[end - 2 : end], values[:, :, end - 2 : end])
        score = detector.score(part).score
        with np.errstate(invalid="ignore"):
            detector.update(part.last(1), score > 1, np.zeros(len(names), np.bool_))
        found.append(score)
    return np.stack([np.full(len(names), np.nan), *found], axis=1)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.parametrize("size", [3, 4, 12])
def test_one_member_that_differs_is_raised_and_the_others_are_not(rng, size):
    names, values = members(6, size), series(rng, 6, size, MINUTES + 30)
    values[1, MINUTES:] *= 2.5
    found = scores(names, values)[:, MINUTES:]
    assert found[1, :10].max() > 1
    assert (np.delete(found, 1, axis=0)[: size - 1] <= 1).all()


@pytest.mark.parametrize("factor", [0.0, 0.3, 4.0])
def test_what_the_whole_group_does_is_raised_of_nobody(rng, factor):
    values = series(rng, 4, 5, MINUTES + 60)
    values[:, MINUTES:] *= factor
    assert (scores(members(4, 5), values)[:, MINUTES:] <= 1).all()


def test_nobody_is_blamed_where_half_of_a_group_breaks(rng):
    values = series(rng, 3, 6, MINUTES + 40)
    values[[0, 1, 2, 6, 7, 8], MINUTES:] *= 5
    assert (scores(members(3, 6), values)[:, MINUTES:] <= 1).all()


def test_a_group_of_one_or_two_has_no_score():
    names = (*members(1, 2), (("group", "alone"), ("member", "x")), (("member", "without group"),))
    values = np.random.default_rng(0).normal(100, 1, (4, 200))
    assert np.isnan(scores(names, values)).all()


def test_peers_that_have_no_sample_are_none():
    values = np.random.default_rng(0).normal(100, 1, (3, 200))
    values[2, 150:160] = np.nan
    found = scores(members(1, 3), values)
    assert np.isfinite(found[:, 149]).all()
    assert np.isnan(found[:, 150:160]).all()
    assert np.isfinite(found[:, 160:]).all()


def test_what_is_always_different_is_usual(rng):
    """One is a thousand times the others, one is a constant apart, one stands still at nothing."""
    names, values = members(1, 8), series(rng, 1, 8, MINUTES)
    values[0] *= 1000
    values[1] = 0.0
    assert np.nanmax(scores(names, values)[:, 100:]) <= 1
    apart = np.random.default_rng(1).normal(0, 1, (8, MINUTES)) + 50 * np.arange(8)[:, None]
    apart += 20 * np.sin(np.arange(MINUTES) / 100)
    assert np.nanmax(scores(members(1, 8), apart)[:, 100:]) <= 1


def test_a_member_that_comes_moves_nobody_and_is_judged_soon(rng):
    names, values = members(1, 5), series(rng, 1, 5, MINUTES)
    values[4, :400] = np.nan
    values[4] *= 50
    found = scores(names, values)
    assert np.nanmax(found[:4, 100:]) <= 1
    assert np.isnan(found[4, :425]).all()
    assert np.isfinite(found[4, 435:]).all()
    values[4, 500:] *= 3
    assert np.nanmax(scores(names, values)[4, 500:510]) > 1


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_constant_series_are_quiet(value):
    assert np.nanmax(scores(members(1, 4), np.full((4, 200), value))) == 0


def test_rare_counts_are_quiet(rng):
    values = rng.poisson(0.02, (12, 3000)).astype(float)
    found = scores(members(3, 4), values)[:, 1500:]
    assert (np.nan_to_num(found) > 1).mean() < 0.002


def test_of_several_channels_the_one_that_differs_is_named(rng):
    names = members(2, 5)
    values = np.stack([series(rng, 2, 5, MINUTES + 10) for _ in range(3)], axis=1)
    values[3, 2, MINUTES:] *= 3
    detector = make("peers", 60, ("group",))
    times = 60.0 * np.arange(values.shape[2])
    for end in range(2, MINUTES + 10):
        part = Batch(names, ("a", "b", "c"), times[end - 2 : end], values[:, :, end - 2 : end])
        judgement = detector.score(part)
        detector.update(part.last(1), judgement.score > 1, np.zeros(10, np.bool_))
    assert judgement.score[3] > 1
    assert judgement.contribution[3].argmax() == 2
    told = judgement.streams
    at = int(np.searchsorted(told.rows, 3))
    assert (told.others[at], told.channel[at, 10]) == (4, 2)
    assert 2 < told.own[at] / told.usual[at] < 5


def test_auto_without_peers_does_not_look_at_them():
    """The scores are those of each entity alone."""
    values = np.random.default_rng(2).normal(100, 5, (6, 400))
    names = members(2, 3)
    together = scores(names, values, "auto", None)
    alone = np.concatenate([scores(names[at : at + 1], values[at : at + 1], "auto", None) for at in range(6)])
    np.testing.assert_array_equal(together, alone)


def test_auto_finds_with_peers_what_hides_in_the_swing_of_the_group(rng):
    names, values = members(4, 6), series(rng, 4, 6, 2000)
    values[2, 1900:] *= 1.5
    own, beside = (scores(names, values, "auto", peers)[2, 1900:1910] for peers in (None, ("group",)))
    assert beside.max() > 1 > own.max()


def test_the_median_of_the_others_is_that_of_a_plain_computation(rng):
    names = tuple((("group", f"{rng.integers(0, 12)}"), ("member", f"{n}")) for n in range(150))
    values = rng.normal(size=(150, 2))
    values[rng.random(values.shape) < 0.2] = np.nan
    values[rng.random(values.shape) < 0.2] = 1.0
    found = Groups(names, ("group",)).others(values)
    for row, key in enumerate(names):
        others = [other for other in range(150) if other != row and names[other][0] == key[0]]
        for channel in range(2):
            there = values[others, channel]
            there = there[np.isfinite(there)]
            assert found.count[row, channel] == len(there)
            wanted = np.median(there) if len(there) > 1 else np.nan
            np.testing.assert_allclose(found.middle[row, channel], wanted)


def test_a_restored_state_of_auto_with_peers_goes_on_to_the_bit():
    values = np.random.default_rng(3).normal(100, 5, (6, 300))
    names = members(2, 3)
    first, second = (make("auto", 60, ("group",)) for _ in range(2))
    times = 60.0 * np.arange(300)
    for end in range(2, 301):
        if end == 150:
            second.restore(first.state())
        part = Batch(names, ("v",), times[end - 2 : end], values[:, None, end - 2 : end])
        for detector in (first, second)[: 1 + (end >= 150)]:
            score = detector.score(part).score
            detector.update(part.last(1), score > 1, np.zeros(6, np.bool_))
    np.testing.assert_array_equal(first.score(part).score, second.score(part).score)
    with pytest.raises(ValueError, match="no comparison of peers"):
        make("auto", 60, ("group",)).restore(make_state_without_peers())


def make_state_without_peers() -> dict:
    detector, part = make("auto", 60), batch(np.full((2, 1, 5), 1.0), names=keys(2))
    detector.score(part)
    detector.update(part.last(1), np.zeros(2, np.bool_), np.zeros(2, np.bool_))
    return detector.state()
