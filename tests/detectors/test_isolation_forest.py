"""The detector against scikit-learn's own verdicts, and its model as arrays and joblib bytes."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.ensemble import IsolationForest

from detectors import make
from detectors.isolation_forest.detector import _features
from detectors.rolling_baseline import median_and_scale
from tests.support.batches import batch, noise, walk


def features(windows):
    rows = np.concatenate([_features(w, *median_and_scale(w[:, :, :-1])[:2]) for w in windows])
    return rows[np.isfinite(rows).all(axis=1)]


def test_for_several_channels_above_one_is_what_scikit_learn_calls_an_outlier():
    history = batch(noise(40, 2, 200, seed=2))
    detector = make({"isolation_forest": {"contamination": 0.05}}, 60).fit(history)
    oracle = IsolationForest(contamination=0.05, random_state=0).fit(features(detector._training_windows(history)))
    part = batch(noise(40, 2, 60, seed=3))
    part.values[::4, 0, -1] += 3.0
    score = detector.score(part).score
    rows = features([part.values])
    verdicts = oracle.predict(rows)
    np.testing.assert_array_equal(score > 1, verdicts == -1)
    assert 0 < (score > 1).sum() < 40
    assert spearmanr(score, -oracle.score_samples(rows)).statistic == pytest.approx(1.0)


@pytest.mark.parametrize("channels", [1, 2])
def test_contamination_is_the_share_of_training_windows_beyond_one(channels):
    history = batch(noise(60, channels, 160))
    detector = make({"isolation_forest": {"contamination": 0.02, "max_rows": 3000}}, 60).fit(history)
    drawn = detector._training_windows(history)
    scores = [make("isolation_forest", 60).restore(detector.state()).score(batch(w)).score for w in drawn if len(w)]
    assert (np.concatenate(scores) > 1).mean() == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize("channels", [1, 2])
def test_too_little_history_is_refused_and_leaves_no_verdict(channels):
    detector = make("isolation_forest", 60)
    with pytest.raises(ValueError, match="the forest needs 30"):
        detector.fit(batch(noise(2, channels, 18)))
    assert np.isnan(detector.score(batch(noise(3, channels, 60))).score).all()


@pytest.mark.parametrize("channels", [1, 2])
def test_the_same_seed_learns_the_same(channels):
    history, part = batch(noise(20, channels, 120)), batch(noise(5, channels, 60, seed=4))
    one, other = (make("isolation_forest", 60).fit(history).score(part).score for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_windows_full_of_gaps_are_left_out_of_training():
    history = batch(noise(20, 1, 120))
    history.values[:10] = np.nan
    windows = make("isolation_forest", 60)._training_windows(history)
    assert sum(map(len, windows)) == 10 * (120 - 11 + 1)


def test_the_score_grows_with_the_distance_and_the_band_is_where_it_is_one():
    detector = make("isolation_forest", 60).fit(batch(noise(50, 1, 200)))
    values = np.repeat(noise(1, 1, 60, seed=8), 50, axis=0)
    values[:, 0, -1] = 100 + np.linspace(2, 50, 50)
    judgement = detector.score(batch(values))
    assert (np.diff(judgement.score) > 0).all()
    crossing = values[np.argmax(judgement.score > 1), 0, -1] - 100
    assert judgement.upper[0, 0] - judgement.expected[0, 0] == pytest.approx(crossing, rel=0.35)


def test_an_incident_longer_than_the_window_is_judged_by_the_level_before_it():
    values = noise(4, 1, 300)
    values[1, 0, 100:260] += 20.0
    scores = np.array(
        [j.score for j in walk(make("isolation_forest", 60).fit(batch(noise(30, 1, 200))), batch(values), 60)]
    )
    inside = scores[100 - 59 : 260 - 59, 1]
    assert (inside > 1).all()
    assert not (scores[260 - 59 + 5 :, 1] > 1.5).any()


def test_one_channel_needs_no_scikit_learn():
    """It costs seconds at every start."""
    code = (
        "import sys, numpy as np; from detectors import make, Batch;"
        "values = np.random.default_rng(0).normal(size=300);"
        "b = Batch(((('i', 'a'),),), ('value',), np.arange(300) * 60.0, values.reshape(1, 1, 300));"
        "make('isolation_forest', 60).fit(b).score(b.last(60)); sys.exit('sklearn' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
