"""Promises that every detector keeps, run over all of DETECTORS."""

import pkgutil
from copy import deepcopy
from functools import cache

import numpy as np
import pytest

from detectors import DETECTORS, Batch, Detector, make
from detectors.stateful import StatefulDetector
from tests.support.batches import batch, keys, noise, walk
from tests.support.every_detector import every_detector

WINDOW = 60
SMALL_TREES = {"parameters": {"n_trees": 5, "height": 6, "window_size": 50}, "warm_up": 50}
SHORT_TRAINING = {"epochs": 4, "max_windows": 1000}
SPECS = {
    "autoencoder": {"autoencoder": SHORT_TRAINING},
    "lstm": {"lstm": SHORT_TRAINING},
    "river": {"river": SMALL_TREES},
    "vae": {"vae": SHORT_TRAINING},
}
"""Where the defaults would take the tests too long."""


@pytest.fixture(params=every_detector())
def name(request):
    return request.param


def fresh(name: str) -> Detector:
    return make(SPECS.get(name, name), WINDOW)


@cache
def _warm(name: str, channels: int, factor: float, offset: float) -> Detector:
    history = batch(noise(20, channels, 200, seed=1) * factor + offset)
    detector = fresh(name).fit(history)
    walk(detector, history, WINDOW)
    return detector


def fitted(name: str, channels: int = 1, factor: float = 1.0, offset: float = 0.0) -> Detector:
    """Return a detector that went through a history of twenty entities, as the cycle does at a start."""
    return deepcopy(_warm(name, channels, factor, offset))


def verdict(detector: Detector, values: np.ndarray):
    return detector.score(batch(values))


def test_its_class_has_the_base_that_mypy_checks(name):
    assert issubclass(pkgutil.resolve_name(DETECTORS[name]), StatefulDetector)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_array_has_its_shape(name, channels):
    j = verdict(fitted(name, channels), noise(5, channels, WINDOW))
    assert j.score.shape == (5,)
    assert j.expected.shape == j.lower.shape == j.upper.shape == j.contribution.shape == (5, channels)


def test_score_learns_nothing(name):
    detector = fitted(name)
    part = batch(noise(5, 1, WINDOW))
    first = detector.score(part)
    for _ in range(3):
        detector.score(batch(noise(5, 1, WINDOW, seed=9) * 50))
    again = detector.score(part)
    np.testing.assert_array_equal(first.score, again.score)
    np.testing.assert_array_equal(first.expected, again.expected)


def test_a_plain_spike_outranks_noise_and_is_anomalous(name):
    values = noise(20, 1, WINDOW)
    values[7, 0, -1] += 40.0
    score = verdict(fitted(name), values).score
    assert np.argmax(score) == 7
    assert score[7] > 1


def test_noise_is_rarely_anomalous(name):
    values = noise(30, 1, 200)
    scores = np.array([j.score for j in walk(fitted(name), batch(values), WINDOW)])
    assert np.nanmean(scores > 1) < 0.01


def test_scale_and_unit_of_a_series_do_not_matter(name):
    values, other = noise(5, 1, WINDOW), fitted(name, factor=1024.0, offset=2.0**20)
    np.testing.assert_allclose(
        verdict(fitted(name), values).score, verdict(other, values * 1024.0 + 2.0**20).score, rtol=1e-6, atol=1e-6
    )


def test_rows_are_independent_of_their_neighbours(name):
    if name == "peers":
        pytest.skip("it compares them")
    values = noise(8, 1, WINDOW)
    alone = fresh(name).restore(fitted(name).state()).score(batch(values[3:4], names=keys(8)[3:4]))
    together = verdict(fitted(name), values)
    np.testing.assert_allclose(alone.score[0], together.score[3])


def test_a_missing_newest_sample_has_no_verdict(name):
    values = noise(5, 1, WINDOW)
    values[1, 0, -1] = np.nan
    score = verdict(fitted(name), values).score
    assert np.isnan(score[1])
    assert np.isfinite(score[[0, 2]]).all()


def test_gaps_in_the_past_do_not_stop_a_verdict(name):
    values = noise(5, 1, WINDOW)
    values[1, 0, 10:30] = np.nan
    assert np.isfinite(verdict(fitted(name), values).score).all()


@pytest.mark.parametrize("present", [0, 1, 5])
def test_too_few_samples_mean_no_verdict(name, present):
    values = noise(3, 1, WINDOW)
    values[1, 0, : WINDOW - present] = np.nan
    detector = fitted(name)
    score = walk(detector, batch(values, names=(keys(1)[0], *keys(1, "new"), keys(3)[2])), WINDOW - 5)[-1].score
    assert np.isnan(score[1])


def test_restored_state_scores_the_same_and_goes_on_the_same(name):
    history = batch(noise(6, 2, 120))
    history.values[2, :, 70:80] += 30.0  # an incident, so that there is something to remember
    first = fitted(name, channels=2)
    before = Batch(history.keys, history.channels, history.times[:90], history.values[:, :, :90])
    walk(first, before, WINDOW)
    second = fresh(name).restore(first.state())
    for one, other in zip(walk(first, history, 91), walk(second, history, 91), strict=True):
        np.testing.assert_array_equal(one.score, other.score)


def test_state_of_another_shape_is_refused(name):
    first = fitted(name, channels=2)
    walk(first, batch(noise(4, 2, WINDOW)), WINDOW)
    state = first.state()
    largest = max((key for key in state if state[key].ndim > 1), key=lambda key: state[key].nbytes)
    state[largest] = state[largest][..., None]
    with pytest.raises(ValueError, match="saved"):
        fresh(name).restore(state)


def test_a_constant_series_is_quiet_and_its_step_is_seen(name):  # row 11
    values = np.full((4, 1, WINDOW + (80 if name in ("auto", "peers", "river") else 20)), 5.0)
    values[2, 0, -1] = 6.0
    judgements = walk(fitted(name), batch(values, names=keys(4, "new")), WINDOW)
    assert not any((j.score > 1).any() for j in judgements[:-1])
    assert judgements[-1].score[2] > 1
    assert judgements[-1].score[0] <= 1


@pytest.mark.parametrize("value", [1e308, -1e308, 5e-324, -0.0])
def test_extreme_values_never_raise(name, value):  # row 11
    values = noise(3, 1, WINDOW)
    values[1, 0, ::2] = value
    detector = fitted(name)
    score = verdict(detector, values).score
    assert np.isfinite(score[[0, 2]]).all()
    assert not np.isinf(score[1])


def test_an_incident_longer_than_the_window_stays_anomalous_and_then_clears(name):
    values = noise(5, 1, 4 * WINDOW)
    values[1, 0, WINDOW + 20 : 3 * WINDOW] += 50.0
    judgements = walk(fitted(name), batch(values), WINDOW)
    inside = np.array([j.score[1] for j in judgements[21 : 2 * WINDOW]])
    after = np.array([j.score[1] for j in judgements[2 * WINDOW + 12 :]])
    assert (inside > 1).mean() > 0.9
    assert (after > 1).mean() < 0.05


def test_an_adopted_level_is_normal_at_once(name):
    detector, values = fitted(name), noise(4, 1, 3 * WINDOW)
    values[1, 0, WINDOW:] += 50.0
    walk(detector, batch(values[:, :, : 2 * WINDOW + 30]), WINDOW)
    part = batch(values[:, :, WINDOW + 31 : 2 * WINDOW + 31], until=60.0)
    detector.score(part)
    second = np.array([False, True, False, False])
    detector.update(part.last(1), second, second)
    after = detector.score(batch(values[:, :, WINDOW + 32 : 2 * WINDOW + 32], until=120.0))
    assert after.score[1] <= 1


def test_entities_come_and_go_with_their_own_state(name):
    detector, values = fitted(name), noise(5, 1, 2 * WINDOW)
    values[1, 0, WINDOW:] += 50.0
    walk(detector, batch(values[:, :, : WINDOW + 40]), WINDOW)
    part = values[:, :, 41 : WINDOW + 41]
    kept = [2, 1, 4, 3]
    renamed = batch(part[kept], until=60.0, names=tuple(keys(5)[row] for row in kept))
    assert detector.score(renamed).score[1] > 1  # still against the level before its incident
    newcomer = np.full((1, 1, WINDOW), np.nan)
    newcomer[0, 0, -1] = 7.0
    more = batch(np.concatenate([part, newcomer]), until=60.0, names=(*keys(5), (("instance", "new"),)))
    score = detector.score(more).score
    assert score[1] > 1
    assert np.isnan(score[5])


def test_memory_is_bounded_by_the_entities_there_are(name):
    detector = fitted(name)
    sizes = []
    for generation in range(6):
        history = batch(noise(10, 1, WINDOW + 3), until=generation * 6000.0, names=keys(10, f"pod{generation}-"))
        walk(detector, history, WINDOW)
        sizes.append(sum(array.nbytes for array in detector.state().values()))
    assert max(sizes[1:]) <= 1.1 * sizes[0]


def test_the_channel_at_fault_is_named(name):
    values = noise(4, 3, WINDOW)
    values[2, 1, -1] += 60.0
    j = verdict(fitted(name, channels=3), values)
    assert np.argmax(j.contribution[2]) == 1
    np.testing.assert_allclose(j.contribution[2].sum(), 1.0)


def test_unknown_names_and_parameters_are_refused_with_the_nearest_known_one(name):
    with pytest.raises(ValueError, match=f"did you mean '{name}'"):
        make(name[:-1], WINDOW)
    with pytest.raises(ValueError, match="wimdow"):
        make({name: {"wimdow": 3}}, WINDOW)
