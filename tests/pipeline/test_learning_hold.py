"""What is unusual is not learnt, whether or not it is flagged; what lasts is adopted once it has come to rest."""

import numpy as np
import pytest

from detectors import Judgement
from exporter.config.sections.job import JobConfig
from exporter.pipeline.incidents import IncidentTracker
from exporter.pipeline.learned_state import LearnedState
from exporter.pipeline.learning_hold import LearningHold
from exporter.pipeline.policy import Policy
from tests.support.batches import batch, keys
from tests.support.every_detector import every_detector, judged_by
from tests.support.judging import MONDAY, job_of, judged

FITTED = ("autoencoder", "ensemble", "isolation_forest", "lstm", "vae")
STEP, DAY = 300.0, 288


@pytest.fixture(params=every_detector(*FITTED, "peers"))  # to which nothing happens when most fail at once
def detector(request):
    return request.param


def settings(detector, **others):
    return judged_by(detector) | {"step": STEP, "window": "5h"} | others


def level(seed, days, entities=4):
    return 100 + np.random.default_rng(seed).normal(0, 2, (entities, round(days * DAY)))


def learnt(job):
    return job.model.detector.state()


@pytest.mark.parametrize(
    "policy", [{"open_after": 2}, {"open_after": 5}, {"direction": "below"}, {"least_deviation": 1000}]
)
def test_what_is_learnt_does_not_depend_on_what_may_open_an_incident(detector, policy):
    values = level(11, 1.5)
    values[0, 350:362] += 80
    values[1, 350:352] += 80  # too short for `open_after`
    values[2, 350:362] -= 80
    plain, other = job_of(**settings(detector)), job_of(**settings(detector, **policy))
    flags = np.array([verdict.flag for verdict in judged(plain, values)])
    for verdict in judged(other, values):
        assert not (verdict.flag & ~flags[round((verdict.time - MONDAY) / STEP)]).any()
    assert flags[352].any()
    for name, array in learnt(plain).items():
        np.testing.assert_array_equal(array, learnt(other)[name], err_msg=name)


@pytest.mark.parametrize("policy", [{"direction": "above"}, {"direction": "above", "open_after": 3}])
def test_a_drain_that_direction_rules_out_and_the_return_from_it_are_silent(policy):
    for seed in (21,):
        values = level(seed, 3.2, entities=6)
        begin = 2 * DAY + 108
        values[:, begin : begin + 30] = 2 + np.random.default_rng(seed).normal(0, 0.3, (6, 30))
        calm = values.copy()
        calm[:, begin : begin + 30] = level(seed + 1, 30 / DAY, entities=6)
        job, other = job_of(**settings("auto", **policy)), job_of(**settings("auto", **policy))
        verdicts, usual = list(judged(job, values)), list(judged(other, calm))
        opened = np.array([verdict.flag for verdict in verdicts[begin:]])
        by_chance = np.array([verdict.flag for verdict in usual[begin:]])
        assert not opened[:60].any()
        assert opened.any(axis=0).sum() <= by_chance.any(axis=0).sum() + 1
        width = [(after.upper - after.lower) for after in (verdicts[begin + 40], usual[begin + 40])]
        np.testing.assert_array_less(width[0], 1.45 * width[1])


def test_the_same_drain_is_an_incident_below():
    values = level(23, 3)
    values[:, 2 * DAY :] = 2
    verdicts = list(judged(job_of(**settings("auto", direction="below")), values))
    assert all(verdict.flag.all() for verdict in verdicts[2 * DAY + 1 : 2 * DAY + 60])


def test_a_level_that_is_ruled_out_is_adopted_after_max_hold_too():
    values = level(24, 4)
    values[0, 2 * DAY :] -= 60
    job = job_of(**settings("seasonal", direction="above", max_hold="6h"))
    verdicts = list(judged(job, values))
    assert not any(verdict.flag[0] for verdict in verdicts)
    assert abs(verdicts[2 * DAY + 60].expected[0, 0] - 100) < 5
    assert abs(verdicts[2 * DAY + 80].expected[0, 0] - 40) < 5


class Distances:
    """Entities at distances from their forecast that the detector calls anomalous."""

    def __init__(self, max_hold="24h"):
        self.config = JobConfig.model_validate({"expr": "q", "step": STEP, "max_hold": max_hold})
        self.hold, self.incidents = LearningHold(self.config), IncidentTracker.of(self.config)
        self.samples, self.keys = 0, ()

    def see(self, away):
        """Return whether incidents are open, and whether their levels were adopted, for distances of shape (E,)."""
        self.samples += 1
        self.keys = self.keys or keys(len(away))
        part = batch(100.0 + away[:, None, None], until=STEP * self.samples, names=self.keys)
        edge, share = np.full((len(away), 1), np.nan), np.ones((len(away), 1))
        judgement = Judgement(np.abs(away) / 6, np.full((len(away), 1), 100.0), edge, edge, share)
        moving, inside = self.hold.moving(part, judgement, STEP), np.ones(len(away), np.bool_)
        now = STEP * self.samples
        decision = self.incidents.decide(part.keys, judgement.score, now, STEP, share, None, moving, inside)
        unusual = Policy.of(self.config).unusual(judgement, part)
        hold = self.hold.decide(part, unusual, decision, STEP, None, moving, inside)
        return decision.flag, hold.adopted

    def run(self, shapes):
        """Return open and adopted, shape (E, T) each."""
        found = [self.see(column) for column in np.transpose(shapes)]
        return tuple(np.transpose(part) for part in zip(*found, strict=True))


HOURS = np.arange(0, 72, STEP / 3600)
SEEDS = range(40, 46)
STEPS = {
    "up": np.full(len(HOURS), 20.0),
    "down": np.full(len(HOURS), -20.0),
    "rhythm": 20 + 8 * np.sin(2 * np.pi * HOURS / 24 - np.pi / 2),
    "square": 20.0 + 10 * (HOURS // 3 % 2),
    "settling": 40 * (1 - np.exp(-HOURS)) + 7,
}


def noisy(shape, seed, size=1.0):
    return shape + np.random.default_rng(seed).normal(0, size, len(shape))


def test_a_leak_is_open_for_as_long_as_it_goes_on():
    slopes = (-8.0, -1.0, 0.5, 1.0, 4.0, 30.0)
    shapes = [noisy(slope * HOURS + np.sign(slope) * 8, seed) for slope in slopes for seed in SEEDS]
    flag, adopted = Distances().run(shapes)
    assert not adopted.any()
    assert flag[:, 12:].all()


def test_a_step_is_adopted_after_max_hold():
    shapes = [noisy(shape, seed, size) for shape in STEPS.values() for size in (0.0, 1.0, 3.0) for seed in SEEDS]
    _, adopted = Distances().run(shapes)
    assert not adopted[:, :DAY].any()
    assert adopted[:, : round(1.5 * DAY) + 1].any(axis=1).all()
    at_once = np.array(shapes)[:, 0] == shapes[0][0]  # a constant level without noise
    assert adopted[at_once, DAY].all()


def test_a_leak_that_stops_is_adopted_when_it_has_come_to_rest():
    _, adopted = Distances().run([noisy(8 + np.minimum(HOURS, 30.0), seed) for seed in SEEDS])
    first = HOURS[adopted.argmax(axis=1)]
    assert ((first > 30) & (first < 50)).all()


def test_a_reload_and_a_restart_keep_what_is_held():
    one, other = Distances(), Distances()
    shapes = np.array([noisy(8 + HOURS, 8), noisy(np.full(len(HOURS), 20.0), 9)])
    one.run(shapes[:, :200])
    other.samples, other.keys = one.samples, one.keys
    other.hold.restore(one.hold.state())
    other.hold = other.hold.reconfigured(other.config)
    other.incidents.restore(one.incidents.state())
    for mine, theirs in zip(one.run(shapes[:, 200:400]), other.run(shapes[:, 200:400]), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_state_of_a_version_without_holds_is_taken_over():
    job = job_of(**settings("robust"))
    values = level(31, 0.5)
    values[0, 120:] += 50
    list(judged(job, values))
    state = job.learnt.state()
    old = {name: array for name, array in state.items() if not name.startswith("hold/")}
    del old["incidents/outside"]
    new = LearnedState(job.settings)
    new.restore(old | {"model_version": state.get("model_version", np.frombuffer(b"", np.uint8))})
    assert new.incidents.state()["open"].tolist() == state["incidents/open"].tolist()


class TestOutsideTheValidRange:
    """A series that is too young for the detector has no score of its own."""

    def flags(self, values, **others):
        job = job_of(detector="auto", step=60, valid_range=[0, 100], **others)
        return [bool(verdict.flag[0]) for verdict in judged(job, np.array([values], float))]

    @pytest.mark.parametrize("open_after", [1, 3])
    def test_a_young_series_is_over_it_as_soon_as_it_is_inside(self, open_after):
        values = [50.0] * 6 + [120.0] * 5 + [50.0] * 10
        expected = [False] * (6 + open_after - 1) + [True] * (6 - open_after) + [False] * 10
        assert self.flags(values, open_after=open_after) == expected

    def test_a_gap_tells_nothing(self):
        assert self.flags([50.0] * 6 + [120.0] * 2 + [np.nan] * 4 + [50.0]) == [False] * 6 + [True] * 6 + [False]

    def test_an_old_series_is_over_it_within_two_samples(self):
        values = 50 + np.random.default_rng(3).normal(0, 1, 200)
        values[150:160] = 130
        flags = self.flags(values)
        assert all(flags[150:160])
        assert not any(flags[162:170])

    def test_what_the_detector_goes_on_to_call_anomalous_stays_open(self):
        values = 50 + np.random.default_rng(4).normal(0, 1, 200)
        values[150:160], values[160:175] = 130, 90
        flags = self.flags(values)
        assert all(flags[150:175])
        assert flags[178]  # its own incident clears as usual
