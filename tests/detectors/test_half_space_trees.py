"""The trees against river's, and what the detector learns, forgets and keeps."""

import numpy as np
import pytest
from river.anomaly import HalfSpaceTrees as RiverTrees

from detectors import Batch, make
from detectors.half_space_trees.trees import HalfSpaceTrees
from tests.support.batches import batch, noise, walk
from tests.support.half_space import Streams, against_river

WINDOW = 60


@pytest.mark.parametrize(
    ("trees", "height", "window", "features"),
    [(10, 8, 30, 1), (7, 6, 30, 3), (5, 3, 47, 2), (3, 7, 25, 4), (1, 1, 10, 1), (2, 5, 300, 2)],
)
def test_scores_are_those_of_river_on_the_same_trees(trees, height, window, features):
    entities, rng = 5, np.random.default_rng(trees)
    models = [RiverTrees(trees, height, window, seed=3) for _ in range(entities)]
    names = [f"f{n}" for n in range(features)]
    streams, early = None, 0
    for number in range(3 * window + 7):
        points = np.clip(rng.normal(0.5, 0.1, (entities, features)), 0.0, 1.0)
        points[rng.random(points.shape) < 0.05] = rng.integers(0, 2)  # the ends of the range
        if streams is not None:
            for feature in range(features):  # ties: values on a threshold
                cuts = streams.trees.threshold[streams.trees.feature == feature]
                tied = np.flatnonzero(rng.random(entities) < 0.3)
                points[tied, feature] = rng.choice(cuts, len(tied)) if len(cuts) else 0.5
        named = [dict(zip(names, map(float, point), strict=True)) for point in points]
        expected = [model.score_one(point) for model, point in zip(models, named, strict=True)]
        for model, point in zip(models, named, strict=True):
            model.learn_one(point)
        if streams is None:
            streams = Streams(models[0], entities)
        np.testing.assert_allclose(streams.step(points), expected, rtol=0, atol=1e-12, err_msg=str(number))
        early += sum(score > 0.9 for score in expected)
    assert height < 5 or early > 0  # paths that stop at the size limit were among them


def test_the_comparison_for_the_bench_compares_the_same():
    figures = against_river(entities=40, trees=5, height=4, window=20)
    assert figures["quality"] <= 1e-12
    assert figures["value"] == pytest.approx(figures["other"] / figures["ours"])


@pytest.mark.parametrize("features", [1, 3])
def test_every_leaf_of_grown_trees_can_be_reached_and_features_take_equal_turns(features):
    forest = HalfSpaceTrees.grow(6, 4, features, seed=1)
    cells = forest.cells(np.random.default_rng(0).random((200_000, features)))
    assert len(np.unique(cells)) == 6 * 16
    turns = np.stack([(forest.feature == which).sum(axis=0) for which in range(features)])
    assert (turns == 6 // features).all()


def test_one_channel_of_several_missing_means_no_verdict():
    values = noise(3, 2, WINDOW)
    values[1, 0, -1] = np.nan
    judgement = make("half_space_trees", WINDOW).score(batch(values))
    assert np.isnan(judgement.score).tolist() == [False, True, False]
    assert np.isnan(judgement.contribution[1]).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_gaussian_noise_exceeds_one_at_the_rate_asked_for(channels):
    detector = make({"half_space_trees": {"false_alarm_rate": 0.02}}, WINDOW)
    history = batch(noise(100, channels, 500, seed=5))
    scores = np.array([judgement.score for judgement in walk(detector, history, 400)])
    assert np.mean(scores > 1) == pytest.approx(0.02, abs=0.012)


def two_levels(samples, seed):
    rng = np.random.default_rng(seed)
    values = rng.normal(0.0, 1.0, (20, 1, samples))
    values[:10] += np.where(rng.random((10, 1, samples)) < 0.3, 12.0, 0.0)  # the first ten live on two levels
    return values


def test_the_own_past_decides_what_is_usual():
    detector = make({"half_space_trees": {"mass_window": 100}}, WINDOW).fit(batch(two_levels(300, 0)))
    values = two_levels(WINDOW, 1)
    values[:, 0, -1] = 12.0
    score = detector.score(batch(values)).score
    assert np.median(score[:10]) < 1  # not all: the spread of so few samples on two levels is itself uncertain
    assert (score[10:] > 1).all()


def test_an_incident_adds_nothing_to_the_masses_and_an_adopted_level_starts_anew():
    detector = make({"half_space_trees": {"mass_window": 50}}, WINDOW)
    values = noise(3, 1, 260)
    walk(detector, batch(values[:, :, :100]), WINDOW)
    before = detector.state()
    part = batch(values[:, :, 41:101], until=60.0)
    detector.score(part)
    detector.update(part.last(1), np.array([True, True, False]), np.array([False, True, False]))
    after = detector.state()
    name = "half_space_seen"
    assert (after[name] - before[name].astype(int)).tolist() == [0, -int(before[name][1]), 1]
    np.testing.assert_array_equal(after["half_space_mass"][0], before["half_space_mass"][0])
    assert not after["half_space_mass"][1].any()
    assert np.isnan(after["half_space_usual"]).tolist() == [False, True, False]
    verdicts = []
    for end in range(102, 115):  # the samples of before are no reference any more; ten of the new level are one
        part = batch(values[:, :, end - 60 : end], until=60.0 * (end - 100))
        verdicts.append(np.isfinite(detector.score(part).score).tolist())
        detector.update(part.last(1), np.zeros(3, np.bool_), np.zeros(3, np.bool_))
    assert verdicts[0] == [True, False, True]
    assert verdicts[-1] == [True, True, True]


def test_a_full_mass_window_becomes_the_reference():
    detector = make({"half_space_trees": {"mass_window": 40}}, WINDOW)
    history = batch(noise(2, 1, 150))
    walk(detector, Batch(history.keys, history.channels, history.times[:98], history.values[:, :, :98]), WINDOW)
    before = detector.state()
    assert before["half_space_seen"].tolist() == [39, 39]
    part = Batch(history.keys, history.channels, history.times[39:99], history.values[:, :, 39:99])
    detector.score(part)
    detector.update(part.last(1), np.zeros(2, np.bool_), np.zeros(2, np.bool_))
    after = detector.state()
    assert after["half_space_seen"].tolist() == [0, 0]
    assert (after["half_space_usual"] != before["half_space_usual"]).all()


@pytest.mark.parametrize(("parameters", "limit"), [({}, 6000), ({"trees": 25, "height": 6}, 6000)])
def test_an_entity_takes_no_more_than_six_kilobytes(parameters, limit):
    detector = make({"half_space_trees": parameters}, WINDOW)
    sizes = []
    for entities in (10, 20):
        detector.fit(batch(noise(entities, 1, 20)))
        sizes.append(sum(array.nbytes for array in detector.state().values()))
    assert (sizes[1] - sizes[0]) / 10 <= limit


@pytest.mark.parametrize("parameters", [{"height": 4}, {"trees": 20}])
def test_a_state_with_other_trees_is_refused(parameters):
    state = make("half_space_trees", WINDOW).fit(batch(noise(2, 1, 80))).state()
    with pytest.raises(ValueError, match="the saved state holds no"):
        make({"half_space_trees": parameters}, WINDOW).restore(state)


def test_an_empty_state_is_that_of_a_detector_that_saw_nothing():
    detector = make("half_space_trees", WINDOW)
    assert detector.state() == {}
    assert np.isfinite(detector.restore({}).score(batch(noise(2, 1, WINDOW))).score).all()
