"""What a new model must show, and by how much it may be worse."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from detectors import Batch
from exporter.backtest.history import VerdictHistory
from exporter.backtest.quality import Figures
from exporter.config.sections.job import JobConfig
from exporter.config.sections.train import GateConfig
from exporter.train.exclusions import Matcher, Silence
from exporter.train.gate import most_false, rule
from exporter.train.holdout import HoldoutResult, counted
from exporter.train.injected_faults import Inject, count_found, plan
from tests.support.verdicts import verdict

GATE = GateConfig()


def result(events=10, found=9, false=4, weeks=50.0, judged=1.0, flagged=0.01, faults=0, faults_found=0):
    figures = Figures("job", True, events=events, found=found, false=false, series_weeks=weeks, weeks=1.0)
    return HoldoutResult(figures, judged, flagged, faults, faults_found)


OLD = result()


def test_a_model_that_is_as_good_is_promoted_and_the_reason_gives_both_figures():
    ruling = rule(result(), OLD, 1.0, GATE)
    assert ruling.passed
    assert ruling.reason == "9 of 10 known incidents found, 4 false ones, against 9 and 4 of the active model"
    assert ruling.figures["recall"] == ruling.figures["old_recall"] == 0.9


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (result(found=8), "recall 80% is worse than 90%"),
        (result(false=40), "40 false incidents, of the active model 4; at most 9 are allowed"),
        (result(false=40), "precision 20% is worse than 69%"),
        (result(false=40), "F1 33% is worse than 78%"),
        (result(flagged=0.5), "incidents open 50% of the time for nothing, of the active model 1%"),
        (result(judged=0.9), "a verdict for 90% of the samples, of the active model 100%"),
        (result(found=0, false=0), "recall 0% is worse"),
    ],
)
def test_a_worse_model_is_rejected_for_every_reason_there_is(new, reason):
    ruling = rule(new, OLD, 1.0, GATE)
    assert not ruling.passed
    assert reason in ruling.reason


def test_the_margin_is_the_one_that_is_set():
    worse = result(events=100, found=86, false=4)
    better = result(events=100, found=90, false=4)
    assert rule(worse, better, 1.0, GATE).passed
    assert not rule(worse, better, 1.0, GateConfig(margin=0.03)).passed
    assert rule(result(found=7), OLD, 1.0, GateConfig(margin=0.25)).passed


def test_a_false_incident_more_in_a_few_days_is_chance_and_many_more_are_not():
    """Allowed: a fifth more, and two standard deviations of a count by chance (Poisson)."""
    none = result(events=0, found=0, false=0)
    assert rule(result(events=0, found=0, false=2), none, 1.0, GATE).passed
    assert not rule(result(events=0, found=0, false=3), none, 1.0, GATE).passed
    assert most_false(100, 0.2) == pytest.approx(140)
    assert rule(result(found=9, false=6), OLD, 1.0, GATE).passed, "nor are precision and F1 worse for that"


def test_a_model_that_notices_less_of_the_injected_faults_is_blind():
    old = result(events=0, found=0, faults=10, faults_found=8)
    assert rule(result(events=0, found=0, faults=10, faults_found=8), old, 1.0, GATE).passed
    ruling = rule(result(events=0, found=0, faults=10, faults_found=6), old, 1.0, GATE)
    assert not ruling.passed
    assert "blind" in ruling.reason
    nothing = result(events=0, found=0, faults=10, faults_found=0)
    assert not rule(nothing, nothing, 1.0, GATE).passed, "though the old one notices no more"


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (
            result(events=0, found=0, false=600, faults=10, faults_found=9),
            "at most 545 are allowed (10 times what `false_alarms` allows)",
        ),
        (result(flagged=0.2), "incidents open 20% of the time for nothing, at most 10%"),
        (result(judged=0.3), "a verdict for only 30%"),
        (result(found=4), "only 4 of 10 known incidents found"),
        (result(events=0, found=0, faults=10, faults_found=4), "only 4 of 10 injected faults found: it is blind"),
    ],
)
def test_a_first_model_must_be_no_nuisance_and_not_blind(new, reason):
    ruling = rule(new, None, 1.0, GATE)
    assert not ruling.passed
    assert reason in ruling.reason


def test_a_first_model_that_finds_and_keeps_quiet_is_promoted():
    assert rule(result(faults=10, faults_found=7), None, 1.0, GATE).passed
    line = result(events=0, found=0, false=600)
    assert rule(line, None, 2.0, GATE).passed, "a job whose line allows more may have more"


STEP = 60.0
KEYS = ((("i", "a"),), (("i", "b"),))


def held(columns=500, first=1000, flags=()):
    made = VerdictHistory(STEP * np.arange(first, first + columns, dtype=float), STEP, keep=("range",))
    rng = np.random.default_rng(0)
    for column in range(columns):
        time = (first + column) * STEP
        flag = np.array([column in dict(flags).get(key, ()) for key in KEYS])
        made.add(replace(verdict(KEYS, values=rng.normal(10, 1, (2, 1)), flag=flag), time=time))
    return made


def known(begin, end, label="a"):
    return Silence((1000 + begin) * STEP, (1000 + end) * STEP, (Matcher("i", label),), "job")


def test_incidents_found_missed_false_and_silenced_are_counted_as_such():
    a, b = KEYS
    flags = [(a, [*range(100, 110), *range(300, 310)]), (b, [*range(200, 210), *range(400, 420)])]
    made = held(flags=flags)
    found = counted("job", made, [known(98, 120), known(450, 460, "b")], [known(395, 425, "b")])
    figures = found.figures
    assert (figures.events, figures.found, figures.false, figures.openings) == (2, 1, 2, 3)
    assert found.judged == 1.0
    assert found.flagged == pytest.approx(20 / (2 * 499 - 31 - 23 - 11))


def test_the_last_sample_trained_on_is_not_judged():
    made = held(columns=3, flags=[(KEYS[0], [0])])
    assert counted("job", made, []).figures.openings == 0


def test_faults_are_where_nothing_is_known_and_as_large_as_the_values_vary():
    job = JobConfig(expr="q", least_deviation=1.0)
    made = held(columns=4000)
    faults = plan(made, job, [known(0, 2000, "a")])
    assert set(faults) == set(KEYS)
    assert all(fault.first > 3000 + 100 for fault in faults[KEYS[0]])
    for every in faults.values():
        assert {np.sign(fault.size[0]) for fault in every} <= {1, -1}
        assert all(18.0 < abs(fault.size[0]) < 28.0 for fault in every), "three ranges of 4000 normal values"
        assert all(one.last + 100 < other.first for one, other in pairwise(every))
    assert plan(made, job, [known(-10, 4010, "a"), known(-10, 4010, "b")]) == {}
    above = plan(made, JobConfig(expr="q", direction="above"), [])
    assert all(fault.size[0] > 0 for every in above.values() for fault in every)
    large = plan(made, JobConfig(expr="q", least_deviation=50.0), [])
    assert all(abs(fault.size[0]) == 100 for every in large.values() for fault in every)


@pytest.mark.parametrize(
    ("values", "size"),
    [((5.0, 5.0), 5.0), ((0.0, 0.0), 1.0), ((-1.7e308, 1.7e308), 1e300), ((1e12, 1e12 + 8), 1e12 + 8)],
)
def test_what_never_moves_is_moved_by_its_own_size_and_the_largest_stays_finite(values, size):
    made = VerdictHistory(STEP * np.arange(1000.0, 1100.0), STEP, keep=("range",))
    for column in range(100):
        value = np.full((2, 1), values[column % 2])
        made.add(replace(verdict(KEYS, values=value), time=(1000 + column) * STEP))
    faults = plan(made, JobConfig(expr="q"), [])
    assert {abs(fault.size[0]) for every in faults.values() for fault in every} == {size}


def test_a_fault_counts_as_found_only_if_it_opened_the_incident():
    made = held(columns=1000)
    faults = plan(made, JobConfig(expr="q"), [])
    total = sum(map(len, faults.values()))
    first, *_ = faults[KEYS[0]]
    at = first.first - 1000
    opened = held(columns=1000, flags=[(KEYS[0], range(at + 1, at + 5))])
    always = held(columns=1000, flags=[(key, range(1000)) for key in KEYS])
    assert count_found(opened, faults) == (total, 1)
    assert count_found(always, faults) == (total, 0)


def test_injecting_moves_the_newest_value_of_the_chosen_entities_only_while_it_lasts():
    faults = plan(held(columns=1000), JobConfig(expr="q"), [])
    (fault, *_) = faults[KEYS[1]]
    only = {KEYS[1]: [fault]}
    inject = Inject(only, STEP)
    for at, moved in ((fault.first - 1, 0.0), (fault.first, fault.size[0]), (fault.last, 0.0)):
        batch = Batch(KEYS, ("value",), STEP * np.array([at - 1.0, at]), np.zeros((2, 1, 2)))
        inject(batch)
        assert batch.values[:, 0, :].tolist() == [[0, 0], [0, moved]]


def test_a_gate_without_events_takes_precision_for_nothing():
    quiet = result(events=0, found=0, false=0)
    assert math.isnan(quiet.figures.precision)
    assert rule(quiet, replace(quiet), 1.0, GATE).passed
