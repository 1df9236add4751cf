"""The forest against scikit-learn's own verdicts, and its model as joblib bytes."""

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from detectors import make
from tests.support.batches import batch, noise


def test_score_above_one_is_what_scikit_learn_calls_an_outlier():
    history = batch(noise(40, 1, 200, seed=2))
    detector = make({"isolation_forest": {"contamination": 0.05}}, 60).fit(history)
    rows = detector._training_rows(history)
    oracle = IsolationForest(contamination=0.05, random_state=0).fit(rows)
    part = batch(noise(40, 1, 60, seed=3))
    part.values[::4, 0, -1] += 3.0
    score = detector.score(part).score
    level = detector._baseline.level(part)
    from detectors.isolation_forest import _features

    verdicts = oracle.predict(_features(part.values, level.center, level.scale))
    np.testing.assert_array_equal(score > 1, verdicts == -1)
    assert 0 < (score > 1).sum() < 40


def test_contamination_is_the_share_of_training_windows_beyond_one():
    history = batch(noise(60, 1, 160))
    detector = make({"isolation_forest": {"contamination": 0.02}}, 60).fit(history)
    rows = detector._training_rows(history)
    share = (detector._forest.score_samples(rows) / detector._forest.offset_ > 1).mean()
    assert share == pytest.approx(0.02, rel=0.1)


def test_too_little_history_is_refused_and_leaves_no_verdict():
    detector = make("isolation_forest", 60)
    with pytest.raises(ValueError, match="the forest needs 100"):
        detector.fit(batch(noise(2, 1, 20)))
    assert np.isnan(detector.score(batch(noise(3, 1, 60))).score).all()


def test_the_same_seed_grows_the_same_forest():
    history, part = batch(noise(20, 1, 120)), batch(noise(5, 1, 60, seed=4))
    one, other = (make("isolation_forest", 60).fit(history).score(part).score for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_windows_full_of_gaps_are_left_out_of_training():
    history = batch(noise(20, 1, 120))
    history.values[:10] = np.nan
    rows = make("isolation_forest", 60)._training_rows(history)
    assert len(rows) == 10 * (120 - 11 + 1)
    assert np.isfinite(rows).all()
