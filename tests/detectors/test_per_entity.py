"""One model per entity: what it sees, how its scores are scaled, which of river's classes are taken."""

import sys

import numpy as np
import pytest

from detectors import make
from detectors.per_entity import PerEntity
from tests.support.batches import batch, keys, noise, walk


class Distance:
    """Score: distance from 0.5, on a scale of its own."""

    def __init__(self):
        self.seen = []

    def score_one(self, x):
        return -7.0 + 1e6 * sum(abs(value - 0.5) for value in x.values())

    def learn_one(self, x):
        self.seen.append(x)


def detector(**over):
    given = {"window": 60, "min_samples": 10, "span": 24.0, "warm_up": 20, "false_alarm_rate": 0.01}
    return PerEntity(Distance, **(given | over))


def test_a_model_sees_the_deviation_of_each_channel_between_zero_and_one():
    d, values = detector(), noise(2, 2, 61)
    values[0, 1, -1] = 100.0 + 12.0
    values[1, 0, -1] = 1e9
    walk(d, batch(values), 60)
    one, two = d._models[keys(2)[0]].seen[-1], d._models[keys(2)[1]].seen[-1]
    assert one["c1"] == pytest.approx(0.75, abs=0.06)
    assert two["c0"] == 1.0
    assert set(one) == {"c0", "c1"}


@pytest.mark.parametrize("rate", [0.02, 0.1])
def test_scores_exceed_one_at_the_rate_asked_for_whatever_the_scale_of_the_model(rate):
    scores = np.array([j.score for j in walk(detector(false_alarm_rate=rate), batch(noise(20, 1, 800)), 60)])
    assert np.nanmean(scores[300:] > 1) == pytest.approx(rate, rel=0.3)


def test_a_young_entity_is_judged_by_the_scores_of_its_job():
    d = detector()
    walk(d, batch(noise(20, 1, 200)), 60)
    names = (*keys(5), *keys(1, "new"))
    scores = np.array([j.score[5] for j in walk(d, batch(noise(6, 1, 120, seed=3), names=names), 60)])
    assert np.isnan(scores[:20]).all()  # its model has not learnt enough
    assert np.isfinite(scores[20:]).all()
    alone = np.array([j.score[0] for j in walk(detector(), batch(noise(1, 1, 120, seed=3)), 60)])
    assert np.isnan(alone).all()  # nobody to ask


def test_an_incident_teaches_nothing_but_that_it_began():
    d = detector()
    values = noise(2, 1, 400)
    values[1, 0, 300:] += 20.0
    walk(d, batch(values[:, :, :300]), 60)
    before, learnt = d.state(), len(d._models[keys(2)[1]].seen)
    walk(d, batch(values), 301)
    after = d.state()
    assert len(d._models[keys(2)[1]].seen) == learnt
    assert (after["per_entity_count"] - before["per_entity_count"]).tolist() == [100, 1]


SMALL = {"HalfSpaceTrees": {"n_trees": 5, "height": 6, "window_size": 50}, "LODA": {"n_random_cuts": 10}}


@pytest.mark.parametrize("model", ["HalfSpaceTrees", "LODA", "LocalOutlierFactor", "OneClassSVM"])
def test_any_detector_of_river_judges(model):
    d = make({"river": {"model": f"anomaly.{model}", "parameters": SMALL.get(model), "warm_up": 50}}, 60)
    values = noise(8, 2, 240)
    values[3, 1, -1] += 40.0
    last = walk(d, batch(values), 60)[-1]
    assert np.isfinite(last.score).all()
    assert np.argmax(last.contribution[3]) == 1
    if model in {"HalfSpaceTrees", "LocalOutlierFactor"}:  # the score of LODA has an end, the SVM draws a line
        assert last.score[3] > 1
        assert np.argmax(last.score) == 3


def test_scores_of_a_model_of_windows_count_from_its_first_full_window_on():
    assert make({"river": {"parameters": {"window_size": 700}}}, 60)._warm_up == 700
    assert make("river", 60)._warm_up == 250


def test_models_are_grown_the_same_from_the_same_seed():
    def scores(seed):
        small = {"n_trees": 3, "height": 4, "window_size": 20}
        d = make({"river": {"parameters": small, "warm_up": 20, "seed": seed}}, 60)
        return np.array([j.score for j in walk(d, batch(noise(10, 1, 200)), 60)])

    np.testing.assert_array_equal(scores(1), scores(1))
    assert not np.array_equal(scores(1), scores(2), equal_nan=True)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"model": "anomaly.HalfspaceTrees"}, "is not a detector of river; did you mean 'anomaly.HalfSpaceTrees'"),
        ({"model": "os.system"}, "'os.system' is not a detector of river; choose from anomaly.HalfSpaceTrees"),
        ({"model": "anomaly.base.AnomalyDetector"}, "is not a detector of river"),
        ({"model": "anomaly.__builtins__"}, "is not a detector of river"),
        ({"model": "linear_model.LinearRegression"}, "is not a detector of river"),
        ({"model": "anomaly.GaussianScorer"}, "GaussianScorer scores a target by its features"),
        ({"model": "anomaly.QuantileFilter"}, "QuantileFilter filters a detector"),
        ({"parameters": {"n_tree": 3}}, "HalfSpaceTrees has no parameter 'n_tree', did you mean 'n_trees'"),
        ({"parameters": {"limits": 3}}, "HalfSpaceTrees does not take its parameters"),
        ({"false_alarm_rate": 1e-6}, "false_alarm_rate"),
    ],
)
def test_a_mistake_is_refused_with_what_to_do(parameters, message):
    with pytest.raises(ValueError, match="validation error") as caught:
        make({"river": parameters}, 60)
    assert message in str(caught.value)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "river.anomaly", None)
    with pytest.raises(ValueError, match=r"needs the Python package river: pip install 'anomaly-exporter\[river\]'"):
        make("river", 60)


def test_models_of_a_version_that_is_not_there_are_refused():
    d = detector()
    walk(d, batch(noise(2, 1, 70)), 60)
    state = d.state()
    moved = state["per_entity_models"].tobytes().replace(b"Distance", b"Distanse")
    state["per_entity_models"] = np.frombuffer(moved, np.uint8)
    with pytest.raises(ValueError, match="the saved models cannot be read"):
        detector().restore(state)


def test_an_empty_state_is_that_of_a_detector_that_saw_nothing():
    d = make("river", 60)
    assert d.state() == {}
    assert np.isnan(d.restore({}).score(batch(noise(2, 1, 60))).score).all()
