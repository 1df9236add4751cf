"""Small versions of `make fleet`: alerts stay few, failures are heard, and a failing group is seen at once."""

import numpy as np
import pytest

from detectors import Floats
from detectors.units import HOUR, WEEK
from tests.fleet.figures import figures
from tests.fleet.run import Scored, make, run
from tests.fleet.series import Fleet


def as_measured(fleet: Fleet, seed: int):
    """Yield scores whose chance incidents are as often and as severe as those of `auto`, and those of the failures.

    Of 8,000 series-weeks at five-minute steps 10 % of the chance incidents reached a severity of 7.7, 1 % 18.6 and
    0.1 % 32; failures gained 0.8 to 3.8 a minute.
    """
    rng = np.random.default_rng(seed)
    scale, going = rng.lognormal(-0.8, 0.3, fleet.entities), np.zeros(fleet.entities, bool)
    force = {number: rng.uniform(0.8, 3.8) for number in range(len(fleet.troubles))}
    for at in range(fleet.samples):
        going = (going & (rng.random(fleet.entities) < 0.2)) | (rng.random(fleet.entities) < fleet.step / WEEK)
        score: Floats = np.where(going, np.exp(scale * rng.exponential(1.0, fleet.entities)), 0.0)
        for number, trouble in enumerate(fleet.troubles):
            if trouble.begin <= at < trouble.end:
                score[trouble.rows] = np.exp(force[number] * rng.uniform(0.5, 1.5, len(trouble.rows)))
        yield score


class TestAThousandSeries:
    fleet = Fleet(entities=1000, group=50, step=300.0, warm_up=1.0, weeks=2.0, incidents=30, seed=31)

    @pytest.fixture(scope="class")
    @classmethod
    def found(cls):
        job = make(cls.fleet.step, Scored(as_measured(cls.fleet, seed=32)))
        same = np.zeros(cls.fleet.entities)
        return figures(cls.fleet, run(job, cls.fleet.keys, (same for _ in range(cls.fleet.samples))))

    def test_send_at_most_twice_the_budget_by_chance(self, found):
        assert 0.8 < found.opened_per_series_week < 1.2
        assert found.chance_alerts_per_week <= 2.0

    def test_send_nearly_every_failure_within_the_hour_and_hold_it_to_its_end(self, found):
        assert found.alerted == found.failures == 30
        assert found.alerted_soon >= 27
        assert found.silent_early == 0

    def test_show_a_group_in_two_cycles_and_none_by_chance_more_than_once_a_week(self, found):
        assert found.groups_found == found.groups_failed == 5
        assert found.group_alarms_per_week <= 1.0


class TestSeriesThatSwingTogether:
    """Most of a group leave their rhythm for some hours, one more than the other, as far as failures go."""

    fleet = Fleet(entities=1000, group=50, step=300.0, warm_up=2.0, weeks=2.0, incidents=30, seed=35)

    def scores(self):
        rng, hours, fleet = np.random.default_rng(36), round(HOUR / self.fleet.step), self.fleet
        begins = rng.integers(0, fleet.samples, 10)
        swinging = [np.flatnonzero(np.arange(1000) // 50 == group) for group in rng.integers(0, fleet.groups, 10)]
        force, late = rng.exponential(0.3, (10, 50)), rng.integers(0, hours, (10, 50))
        for at, score in enumerate(as_measured(fleet, seed=37)):
            for turn in np.flatnonzero((begins <= at) & (at < begins + 4 * hours)):
                gone = np.where(at >= begins[turn] + late[turn], np.exp(force[turn]), 0.0)
                score[swinging[turn]] = np.maximum(score[swinging[turn]], gone)
            yield score

    @pytest.fixture(scope="class")
    @classmethod
    def found(cls):
        same = np.zeros(cls.fleet.entities)
        job = make(cls.fleet.step, Scored(cls.scores(cls)))
        return figures(cls.fleet, run(job, cls.fleet.keys, (same for _ in range(cls.fleet.samples))))

    def test_send_at_most_twice_the_budget_by_chance(self, found):
        assert found.chance_alerts_per_week <= 2.0

    def test_send_every_failure_of_one_series_and_most_within_the_hour(self, found):
        assert found.alerted == found.failures == 30
        assert found.alerted_soon >= 20  # were a group's swing counted in full: none, and 11 at all


@pytest.mark.slow
def test_a_hundred_real_series_are_few_alerts_and_heard_failures():
    """The detector itself: were its chance incidents more severe than measured, or its incidents to break off, this
    would tell."""
    fleet = Fleet(entities=100, group=20, step=900.0, warm_up=2.0, weeks=2.0, incidents=16, failing_groups=3, seed=33)
    found = figures(fleet, run(make(fleet.step), fleet.keys, fleet.values()))
    assert 0.5 < found.opened_per_series_week < 2.0
    assert found.chance_alerts_per_week <= 2.5
    assert found.alerted_soon >= 13  # of 16; four samples are an hour
    assert found.silent_early == 0
    assert found.groups_found >= 2  # of 3, each four series of which one may be seen a sample later


def test_a_replay_of_the_scores_is_the_run_itself():
    """Figures of several budgets are taken from one run of the detector."""
    fleet = Fleet(entities=12, group=6, step=1800.0, warm_up=1.0, weeks=1.0, incidents=4, failing_groups=1, seed=34)
    first = run(make(fleet.step), fleet.keys, fleet.values())
    again = run(make(fleet.step, Scored(first.scores())), fleet.keys, fleet.values())
    for field in ("row", "begin", "end", "alert", "severity"):
        np.testing.assert_array_equal(getattr(again.opened(), field), getattr(first.opened(), field))
    assert (first.opened().alert >= 0).any()
    assert again.groups == first.groups
