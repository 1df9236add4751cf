"""Several detectors, one verdict."""

import numpy as np
import pytest

from detectors import Judgement, make
from detectors.ensemble import Ensemble
from exporter.config.load import ConfigError, load
from tests.support.batches import batch, noise, walk

NAN = np.nan


class Says:
    """A member with a fixed verdict for each of its entities."""

    def __init__(self, score, contribution=((0.5, 0.5),), expected=NAN, half=NAN, window=60):
        self.window = window
        score = np.array(score, float)
        shape = (len(score), 2)
        middle, edge = np.full(shape, expected), np.full(shape, half)
        self.judgement = Judgement(score, middle, middle - edge, middle + edge, np.broadcast_to(contribution, shape))

    def score(self, batch):
        return self.judgement


def together(*members, combine="mean"):
    ensemble = Ensemble(combine=combine)
    ensemble._members = {str(number): member for number, member in enumerate(members)}
    return ensemble.score(batch(noise(len(members[0].judgement.score), 2, 3)))


@pytest.mark.parametrize(
    ("combine", "expected"),
    [("max", [4, 4, 3, NAN]), ("mean", [2, 4, 1, NAN]), ("vote", [2, 4, 1, NAN])],
)
def test_scores_are_combined_among_the_members_that_have_one(combine, expected):
    members = Says([4, NAN, 3, NAN]), Says([2, 4, 1, NAN]), Says([1, NAN, 1 / 3, NAN])
    np.testing.assert_allclose(together(*members, combine=combine).score, expected)


@pytest.mark.parametrize(("scores", "above"), [((9, 9, 0, 0), False), ((9, 2, 2, 0), True), ((9, 0), False)])
def test_a_vote_needs_more_than_half(scores, above):
    assert (together(*(Says([score]) for score in scores), combine="vote").score[0] > 1) == above


def test_no_member_alone_decides_a_mean():
    quiet = Says([0.2])
    assert together(Says([1e12]), quiet, quiet, quiet).score[0] < 1
    assert together(Says([0.0]), Says([3.0]), Says([50.0])).score[0] > 1


def test_forecast_and_band_are_those_of_the_first_member_that_has_a_band():
    j = together(Says([1]), Says([1], expected=5), Says([1], expected=7, half=2), Says([1], expected=9, half=1))
    assert (j.lower[0, 0], j.expected[0, 0], j.upper[0, 0]) == (5, 7, 9)
    assert together(Says([1]), Says([1], expected=5)).expected[0, 0] == 5


def test_blame_is_the_mean_over_the_members_with_a_verdict():
    j = together(Says([1, NAN], [(0.9, 0.1)]), Says([2, NAN], [(0.5, 0.5)]), Says([NAN, NAN], [(0.0, 1.0)]))
    np.testing.assert_allclose(j.contribution[0], [0.7, 0.3])
    assert np.isnan(j.contribution[1]).all()


def test_members_learn_and_remember_each_for_itself():
    spec = {"ensemble": {"detectors": ["seasonal", {"robust": {"deviations": 4}}, "robust"], "combine": "max"}}
    history = batch(noise(4, 1, 90))
    first = make(spec, 60).fit(history)
    walk(first, history, 60)
    state = first.state()
    assert {name.split(".")[1] for name in state} == {"seasonal", "robust"}
    second = make(spec, 60).restore(state)
    part = batch(noise(4, 1, 60, seed=2), until=60.0)
    np.testing.assert_array_equal(first.score(part).score, second.score(part).score)
    alone = make({"robust": {"deviations": 4}}, 60)
    walk(alone, history, 60)
    strictest = np.fmax(alone.score(part).score, make("seasonal", 60).score(part).score)
    assert (first.score(part).score >= strictest).all()


def test_a_member_that_needs_more_samples_gets_them():
    assert make({"ensemble": {"detectors": ["robust", {"robust": {"window": 240}}]}}, 60).window == 240


def test_ensembles_can_be_members():
    inner = {"ensemble": {"detectors": ["robust", "seasonal"], "combine": "max"}}
    detector = make({"ensemble": {"detectors": [inner, "robust"], "combine": "vote"}}, 60)
    values = noise(3, 1, 60)
    values[1, 0, -1] += 30.0
    assert (detector.score(batch(values)).score > 1).tolist() == [False, True, False]


def test_a_state_of_other_members_is_refused():
    history = batch(noise(3, 1, 70))
    first = make({"ensemble": {"detectors": ["robust", "seasonal"]}}, 60)
    walk(first, history, 60)
    with pytest.raises(ValueError, match=r"1\.seasonal\..* belongs to none of the members 0\.robust, 1\.robust"):
        make({"ensemble": {"detectors": ["robust", "robust"]}}, 60).restore(first.state())


def test_members_with_too_little_history_are_named():
    with pytest.raises(ValueError, match=r"member 1\.isolation_forest: 0 usable windows"):
        make("ensemble", 60).fit(batch(noise(3, 1, 5)))


@pytest.mark.parametrize(
    ("detectors", "message"),
    [
        (["robust", {"isolation_forest": {"contamination": 2}}], "member 1.isolation_forest: contamination: Input"),
        (["robst", "seasonal"], "member 0.robst: unknown detector 'robst', did you mean 'robust'?"),
        ([{"robust": {"wimdow": 2}}, "seasonal"], "member 0.robust: wimdow: Unexpected keyword argument"),
        ([{"robust": {}, "seasonal": {}}, "robust"], "member 0.robust: name exactly one detector"),
        (
            ["robust", {"ensemble": {"detectors": ["robust", "x"]}}],
            "member 1.ensemble: Value error, member 1.x: unknown",
        ),
        (["robust"], "at least 2 items"),
    ],
)
def test_a_mistake_inside_names_the_member(detectors, message, tmp_path):
    import yaml

    spec = {"ensemble": {"detectors": detectors}}
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is looked at below
        make(spec, 60)
    assert message in str(caught.value)
    config = {"prometheus": {"url": "http://localhost:9090"}, "jobs": {"a": {"expr": "up", "detector": spec}}}
    (tmp_path / "a.yml").write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError) as refused:
        load(tmp_path / "a.yml", environ={})
    assert "jobs.a.detector.ensemble" in str(refused.value)
