"""The rivals see only the past, and are what they are called."""

import json
import subprocess

import numpy as np
import pytest
import yaml
from numpy.lib.stride_tricks import sliding_window_view

from detectors.units import WEEK
from exporter.backtest.resample import group
from tests.bench.bands import MEAN_SIGMA, MEDIAN_MAD
from tests.quality.contestants import NAMES, PACKAGES, judge
from tests.quality.known_truth import BRIEF, SLOW
from tests.quality.rivals.bands import BANDS
from tests.quality.rivals.causal import of_channels, once_a_week, refits
from tests.quality.rivals.tsb_ad import Components, on_the_path, poly, poly_scores, sub_pca
from tests.quality.rivals.whole_package import streamed
from tests.quality.test_together import MONDAY, series

needs_packages = pytest.mark.skipif(not on_the_path(), reason="make .venv-rivals/ready has not put the packages here")


class TestTheThreshold:
    def test_is_crossed_about_once_a_week_by_noise(self):
        rng = np.random.default_rng(1)
        weeks, step = 30, 300.0
        ratio = once_a_week(rng.exponential(1.0, round(weeks * WEEK / step)), step)
        assert 0.5 * weeks < (ratio > 1).sum() < 1.8 * weeks

    def test_is_not_there_before_there_is_a_day_of_scores(self):
        ratio = once_a_week(np.ones(500), 300.0)
        assert np.isnan(ratio[:288]).all()
        assert np.isfinite(ratio[288:]).all()
        assert not (ratio[288:] > 1).any()  # an equal score is no alarm

    def test_of_an_entity_is_crossed_once_a_week_and_not_once_by_each_channel(self):
        rng = np.random.default_rng(2)
        values = rng.normal(0, 1, (20, round(10 * WEEK / 900)))
        ratio = of_channels(values, 900.0, lambda channel, _: np.abs(channel))
        assert 4 < (ratio > 1).sum() < 25


def test_models_are_fitted_on_what_was_before():
    parts = list(refits(100_000, 60.0))
    assert parts[0] == (0, 1440, 2880)
    assert all(first < begin < end for first, begin, end in parts)
    assert [begin for _, begin, _ in parts[1:]] == [end for *_, end in parts[:-1]]
    assert parts[-1][2] == 100_000


@needs_packages
@pytest.mark.parametrize("score", [sub_pca, poly, lambda values, step: streamed(values[None], step)[0]])
def test_what_comes_later_changes_nothing_before_it(score):
    rng = np.random.default_rng(3)
    values = 100 + 20 * np.sin(np.arange(900) * 2 * np.pi / 144) + rng.normal(0, 2, 900)
    other = values.copy()
    other[700:] = rng.normal(0, 500, 200)
    np.testing.assert_allclose(score(values, 600.0)[:680], score(other, 600.0)[:680], rtol=1e-6)


@needs_packages
def test_poly_is_that_of_the_package_for_the_last_window_it_is_given():
    from TSB_AD.models.POLY import POLY

    values = 100 + np.random.default_rng(4).normal(0, 3, 900)
    ours = poly_scores(values, window=20)
    for end in (200, 500, 777):
        theirs = POLY(power=4, window=20, normalize=False).fit(values[end - 200 : end].copy()).decision_scores_
        assert ours[end - 1] == pytest.approx(theirs[180])


@needs_packages
def test_sub_pca_is_that_of_the_package_for_what_comes_after_it_was_fitted():
    from sklearn.base import BaseEstimator
    from TSB_AD.models.PCA import PCA

    class Theirs(PCA, BaseEstimator):
        """Newer versions of scikit-learn do not take the package's for an estimator as it is."""

        def _set_n_classes(self, y):
            self._classes = 2

    values = 100 + np.random.default_rng(6).normal(0, 3, 700).cumsum()
    past, then = values[:500], values[500 - 24 :]
    theirs = Theirs(slidingWindow=25, n_components=None, zero_pruning=False).fit(past[:, None])
    scores = theirs.decision_function(then[:, None])[12:-12]  # without what the package pads
    ours = Components.of(sliding_window_view(past, 25)).distances(sliding_window_view(then, 25))
    np.testing.assert_allclose(ours, scores, rtol=1e-6)


@pytest.mark.parametrize(("name", "rules"), [("mean_sigma", MEAN_SIGMA), ("median_mad", MEDIAN_MAD)])
def test_a_band_is_that_of_prometheus(name, rules, tmp_path):
    values = (100 + np.random.default_rng(5).normal(0, 10, 400)).round(3)
    band, last = BANDS[name](values, 300.0), len(values) - 1
    rule_file = {"groups": [{"name": "g", "rules": [{"record": key, "expr": expr} for key, expr in rules.items()]}]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rule_file))
    asked = {"band:lower": band.lower, "band:upper": band.upper}
    expected = [
        {
            "expr": f"abs({record} / {float(limit[last])!r} - 1) < bool 1e-9",
            "eval_time": f"{last * 5 + 1}m",  # between two samples: versions differ in whether a range has its ends
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for record, limit in asked.items()
    ]
    test = {
        "interval": "5m",
        "input_series": [{"series": "level", "values": " ".join(map(str, values.tolist()))}],
        "promql_expr_test": expected,
    }
    tests = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [test]}
    (tmp_path / "tests.yml").write_text(json.dumps(tests))
    command = ["promtool", "test", "rules", "tests.yml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_random_scores_are_alarmed_about_once_a_week_and_the_same_every_time():
    files = group([series("f", MONDAY, round(6 * WEEK / 1800), 1)], None)
    found, _ = judge("random", files, None)
    again, _ = judge("random", files, None)
    assert 1 <= found["f"].flag.sum() <= 20  # the largest so far, in the first week
    np.testing.assert_array_equal(found["f"].flag, again["f"].flag)


def test_what_is_said_of_contestants_is_said_of_those_that_there_are():
    assert {*PACKAGES, *SLOW, *BRIEF} <= set(NAMES)
