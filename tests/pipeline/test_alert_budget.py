"""A budget is a promise per job: about what comes by chance, however many entities there are, and never a gag."""

import numpy as np
import pytest

from exporter.pipeline.alert_budget import SHOWN, AlertBudget
from exporter.pipeline.chance import chance_share
from tests.support.batches import keys

STEP, DAY, WEEK = 60.0, 86_400.0, 604_800.0


def aged(budget, names, age=3 * WEEK, weeks=0.0):
    """Let the entities be so old (seconds), and the job's history so long without an incident."""
    budget.decide(names, np.zeros(len(names), bool), np.zeros(len(names)), np.zeros(len(names)), STEP)
    state = budget.state()
    state["age"][:], state["entity_weeks"] = age, np.array(weeks * len(names))
    budget.restore(state)
    return budget


def grown(entities, per_week=1.0, weeks=0.0):
    names = keys(entities)
    return aged(AlertBudget(per_week, false_alarms=1.0), names, weeks=weeks), names


def incident(budget, names, row, severity):
    """Let an incident reach `severity` and close; return whether it became an alert."""
    at = np.arange(len(names)) == row
    alert = budget.decide(names, at, at * severity, np.zeros(len(names)), STEP)
    budget.decide(names, np.zeros(len(names), bool), np.zeros(len(names)), at * severity, STEP)
    return bool(alert[row])


def line(budget, names, row=0, per_week=1.0, shared=None):
    """Return the severity at which an incident of the entity becomes an alert, to a twentieth."""
    at, state = np.arange(len(names)) == row, budget.state()
    for severity in np.geomspace(0.1, 5000, 220):
        probe = AlertBudget(per_week, false_alarms=1.0)
        probe.restore(state)
        if probe.decide(names, at, at * severity, np.zeros(len(names)), STEP, shared=shared)[row]:
            return severity
    return np.inf


def chance(rng, count):
    """Return severities whose tail falls tenfold every nine."""
    return rng.exponential(9 / np.log(10), count)


def test_the_more_entities_the_more_severe_an_incident_must_be():
    """The lines of a job without history at one alert a week, from the measured tail."""
    assert [line(*grown(n)) for n in (10, 100, 1000)] == pytest.approx([2.5, 9.0, 24.0], rel=0.11)


def test_a_larger_budget_alerts_sooner():
    lines = [line(*grown(100, per_week), per_week=per_week) for per_week in (7.0, 1.0, 0.25)]
    assert lines[0] < lines[1] < lines[2]


def test_in_its_first_week_an_entity_must_be_six_times_as_severe():
    names = keys(100)
    young, old = aged(AlertBudget(1.0, 1.0), names, age=DAY), aged(AlertBudget(1.0, 1.0), names)
    assert line(young, names) == pytest.approx(6 * line(old, names), rel=0.11)


def test_a_longer_step_asks_for_more_since_one_sample_weighs_more():
    assert chance_share(np.array([9.0]), 300.0) > 3 * chance_share(np.array([9.0]), 60.0)
    assert (np.diff(chance_share(np.linspace(0, 500, 2000))) < 0).all()


def test_a_restless_job_raises_its_own_line():
    """Chance incidents five times as severe as the prior expects: the line follows until the budget is kept."""
    budget, names = grown(100)
    rng = np.random.default_rng(1)
    alerts = [0] * 4
    for week in range(4):
        for severity in 5 * chance(rng, 100):
            alerts[week] += incident(budget, names, rng.integers(100), severity)
        state = budget.state()
        state["entity_weeks"] = state["entity_weeks"] + 100.0
        budget.restore(state)
    assert alerts[0] > 4
    assert alerts[3] <= 3
    assert line(budget, names) > 25


def test_weeks_without_incidents_lower_the_line_for_as_many_entities():
    budget, names = grown(1000)
    for _ in range(200):
        budget.decide(names, np.zeros(1000, bool), np.zeros(1000), np.zeros(1000), WEEK / 100)
    assert 1.5 < 1000 * chance_share(np.array([line(budget, names)]))[0] < 2.6


def test_failures_do_not_hide_the_next_one():
    budget, names = grown(1000, weeks=2.0)
    rng = np.random.default_rng(2)
    for severity in chance(rng, 2000):
        incident(budget, names, rng.integers(1000), severity)
    before = line(budget, names)
    for row, severity in enumerate(rng.uniform(200, 900, 40)):
        assert incident(budget, names, row, severity)
    assert line(budget, names, row=500) < 1.5 * before


@pytest.mark.parametrize(("share", "times"), [(0.0, 1.0), (0.1, 1.16), (0.25, 2.0), (0.5, 5.0), (0.6, 6.0), (1.0, 6.0)])
def test_the_more_of_a_group_are_in_trouble_the_more_severe_one_of_them_must_be_up_to_six_times(share, times):
    budget, names = grown(100)
    with_others = np.full(100, share, np.float32)
    assert line(budget, names, shared=with_others) == pytest.approx(times * line(budget, names), rel=0.11)
    first = np.arange(100) == 0
    budget.decide(names, first, first * 1.0, np.zeros(100), STEP, shared=with_others * first)
    needed = budget.needed(np.arange(2), STEP)
    assert needed[0] / needed[1] == pytest.approx(times, rel=1e-6)
    budget.decide(names, first, first * 1.0, np.zeros(100), STEP, shared=np.zeros(100, np.float32))
    np.testing.assert_allclose(budget.needed(np.arange(2), STEP), needed, rtol=1e-3)  # the others ended sooner
    budget.decide(names, ~first & first, np.zeros(100), first * 1.0, STEP, shared=np.zeros(100, np.float32))
    assert budget.needed(np.arange(1), STEP)[0] == pytest.approx(needed[1], rel=0.11)


def test_a_group_that_swings_together_does_not_raise_the_line_for_others():
    """Half of a group becomes five times as severe as anything by chance; without groups that would count in full."""
    lines = {}
    for share in (None, np.full(1000, 0.5, np.float32)):
        budget, names = grown(1000, weeks=2.0)
        for severity in chance(np.random.default_rng(7), 2000):
            incident(budget, names, 3, severity)
        before = line(budget, names, row=500)
        for severity in np.linspace(30, 160, 25):
            at, zero = np.arange(1000) < 25, np.zeros(1000)
            budget.decide(names, at, at * severity, zero, STEP, shared=share)
            budget.decide(names, at & ~at, zero, (np.arange(1000) == 0) * severity, STEP, shared=share)
        lines[share is None] = line(budget, names, row=500)
    assert lines[True] > 1.4 * before
    assert lines[False] < 1.2 * before


def test_what_was_saved_without_groups_is_taken_over():
    budget, names = grown(10)
    at = np.arange(10) == 0
    budget.decide(names, at, at * 9.0, np.zeros(10), STEP, shared=np.full(10, 0.5, np.float32))
    state = budget.state()
    del state["shared"]
    other = AlertBudget(1.0, 1.0)
    other.restore(state)
    np.testing.assert_array_equal(other.decide(names, at, at * 9.0, np.zeros(10), STEP), at)


def test_what_hundreds_do_is_no_failure():
    budget, names = grown(1000, weeks=2.0)
    assert line(budget, names) < 40
    for row in range(400):
        incident(budget, names, row, 300.0)
    assert line(budget, names, row=500) > 250


def test_what_one_entity_does_every_night_is_sent_once_a_week_and_its_neighbours_are_heard():
    budget, names = grown(20)
    nights = []
    for _ in range(28):
        nights.append(incident(budget, names, 3, 80.0))
        state = budget.state()
        state["entity_weeks"] = state["entity_weeks"] + 20 / 7
        budget.restore(state)
    assert all(nights[:2])
    assert 0 < sum(nights[7:]) <= 4
    assert line(budget, names, row=4) < 10
    while incident(budget, names, 3, 80.0):
        pass
    assert incident(budget, names, 3, 200.0)  # worse than ever


def test_an_alert_stays_until_its_incident_closes():
    budget, names = grown(10)
    at, none = np.arange(10) == 0, np.zeros(10)
    assert budget.decide(names, at, at * 9.0, none, STEP)[0]
    for severity in np.geomspace(5, 30, 60):
        budget.decide(names, at, at * 9.0, (np.arange(10) == 5) * severity, STEP)
    both = np.arange(10) < 2
    np.testing.assert_array_equal(budget.decide(names, both, both * 9.0, none, STEP), at)
    assert budget.decide(names, at, at * 9.0, none, STEP)[0]
    assert not budget.decide(names, at & ~at, none, at * 9.0, STEP).any()
    assert not budget.decide(names, at, at * 0.1, none, STEP)[0]


def test_half_the_entities_with_half_the_budget_draw_the_same_line():
    """As replicas share a job out, also when the history is of another share."""
    whole, names = grown(200, weeks=2.0)
    rng = np.random.default_rng(3)
    for severity in chance(rng, 400):
        incident(whole, names, rng.integers(200), severity)
    assert line(whole, names[:100], per_week=0.5) == pytest.approx(line(whole, names), rel=0.11)


def test_a_restart_changes_no_alert():
    first, names = grown(30, weeks=1.0)
    rng, flag = np.random.default_rng(4), np.zeros(30, bool)
    second = AlertBudget(1.0, 1.0)
    severity, sent = np.zeros(30), 0
    for at in range(300):
        closed = np.where(flag & (rng.random(30) < 0.2), severity, 0.0)
        flag = (flag & (closed == 0)) | (rng.random(30) < 0.02)
        severity = np.where(flag, severity + rng.exponential(3, 30), 0.0)
        if at == 150:
            second.restore(first.state())
        alert = first.decide(names, flag, severity, closed, STEP)
        if at >= 150:
            np.testing.assert_array_equal(alert, second.decide(names, flag, severity, closed, STEP))
            sent += alert.sum()
    assert sent


@pytest.mark.parametrize("per_week", [0.25, 1.0, 7.0])
def test_the_budget_holds_while_entities_come_and_go(per_week):
    """A fifth of 150 entities is replaced every week and their number doubles in mid-run, at five-minute steps."""
    rng, budget, step = np.random.default_rng(5), AlertBudget(per_week, 1.0), 300.0
    everyone, begin, size, sent = keys(1500), 0, 150, 0
    names = everyone[:size]
    for at in range(6 * 2016):
        if at % 288 == 287:
            begin, size = begin + size // 35, 300 if at > 3 * 2016 else 150
            names = everyone[begin : begin + size]
        opened = rng.random(len(names)) < 1 / 2016
        severity = opened * (6.4 + chance(rng, len(names)) * 24 / 27)
        if opened.any():
            alert = budget.decide(names, opened, severity, np.zeros(len(names)), step)
            sent += int(alert.sum()) * (at >= 2 * 2016)
        budget.decide(names, np.zeros(len(names), bool), np.zeros(len(names)), severity, step)
    assert sent <= 2 * 4 * per_week + 1
    assert sent >= per_week - 1


def test_a_job_without_entities_has_no_alerts():
    budget, nothing = AlertBudget(1.0, 1.0), np.zeros(0)
    assert not len(budget.decide((), nothing > 0, nothing, nothing, STEP))


def test_a_budget_near_what_opens_anyway_is_kept_too():
    """Ten entities open ten a week; of four a week allowed the smallest must not pass for rare."""
    budget, names = grown(10, per_week=4.0, weeks=4.0)
    rng = np.random.default_rng(6)
    severities = chance(rng, 40) / 3  # half of the measured ones are below 0.4, a tenth above 1.7
    for severity in severities:
        incident(budget, names, rng.integers(10), severity)
    assert 10 * (severities >= line(budget, names, per_week=4.0)).mean() < 8


@pytest.mark.parametrize("seed", range(4))
def test_the_severity_it_asks_for_is_the_one_that_makes_an_alert(seed):
    """Of young and old entities, and of those that alert again and again."""
    rng = np.random.default_rng(seed)
    keys = tuple((("i", str(at)),) for at in range(6))
    nothing, closed = np.zeros(6, np.bool_), np.zeros(6)
    budget = AlertBudget(1.0, 1.0)
    for _ in range(rng.integers(2, 30)):
        flag, severity = rng.random(6) < 0.5, rng.exponential(30.0, 6)
        budget.decide(keys, flag, np.where(flag, severity, 0.0), closed, 86_400.0)
        closed = np.where(flag, severity, 0.0)
        budget.decide(keys, nothing, np.zeros(6), closed, 60.0)
        closed = np.zeros(6)
    needed = budget.needed(np.arange(6), 60.0)
    saved = budget.state()
    for scale, expected in ((0.999, False), (1.001, True)):
        budget.restore(saved)
        alert = budget.decide(keys, ~nothing, needed * scale, closed, 60.0)
        np.testing.assert_array_equal(alert, np.full(6, expected))


def test_only_the_most_severe_open_incidents_are_told_what_they_need():
    budget, entities = AlertBudget(1.0, 1.0), SHOWN + 5
    keys = tuple((("i", str(at)),) for at in range(entities))
    severity = np.arange(entities, dtype=float)
    nothing, everything = np.zeros(entities, np.bool_), np.ones(entities, np.bool_)
    budget.decide(keys, everything, severity, np.zeros(entities), 60.0)
    assert budget.needed_by(nothing, severity, 60.0) is None
    some = severity > 7.0
    np.testing.assert_array_equal(~np.isnan(budget.needed_by(some, severity, 60.0)), severity >= 7.5)
    needed = budget.needed_by(everything, severity, 60.0)
    np.testing.assert_array_equal(~np.isnan(needed), severity >= 5)
    np.testing.assert_array_equal(needed[5:], budget.needed(np.arange(5, entities), 60.0))
