"""Deciding again on a recorded replay gives, to the bit, what another replay with those settings gives."""

import dataclasses

import numpy as np
import pytest

from exporter.backtest.past_incidents import PastIncidents
from exporter.backtest.replay import make_job, replay
from exporter.config.sections.job import JobConfig
from exporter.context.deploy_book import DeployBook
from exporter.context.own_deploys import OwnDeploys
from exporter.pipeline import chance
from exporter.preview.outcome import Outcome
from exporter.preview.tape import record
from exporter.web.ui.bench import Choice
from tests.support.memory_source import FIRST, STEP, Memory


def fleet(seed: int, entities: int = 8, samples: int = 2000, spikes: int = 8) -> np.ndarray:
    """Return series with a daily rhythm, spikes either way, steps that stay, gaps, and series that come and go."""
    rng = np.random.default_rng(seed)
    at = np.arange(samples)
    values = (
        50 + 8 * np.sin(2 * np.pi * at / 1440 + rng.uniform(0, 6, (entities, 1))) + rng.normal(size=(entities, samples))
    )
    for row in range(entities):
        for start in rng.integers(300, samples, spikes):
            values[row, start : start + rng.integers(1, 90)] += rng.choice([-1, 1]) * rng.uniform(3, 40)
    values[0, 1100:] += 30  # longer than max_hold
    values[1, 1250:1650] += np.where(np.arange(400) % 14 < 6, 15.0, 0.0)  # comes and goes
    values[2, 750:850] = np.nan
    values[3, :900] = np.nan
    values[4, 1300:] = np.nan
    values[5, 1500:1502] = np.nan
    return values


def replay_of(job: JobConfig, source: Memory, first: int, last: int) -> tuple[PastIncidents, list]:
    """Return what `backtest` finds, and its verdicts."""
    live = make_job("new", job, source, hold=True)
    live.deploys = OwnDeploys(DeployBook(source), waits=True)
    past, verdicts = PastIncidents("new", job), []
    for verdict in replay(live, first, last, lambda _: None):
        past.add(verdict, live.learnt.budget)
        verdicts.append(verdict)
    return past, verdicts


def outcome_of(job: JobConfig, source: Memory, first: int, last: int) -> Outcome:
    live = make_job("new", job, source, hold=True)
    live.deploys = OwnDeploys(DeployBook(source), waits=True)
    tape = record(live, 100)
    shown = []
    for verdict in replay(live, first, last, lambda _: None):
        shown.append(tape.count - 1)
        tape.alerted(verdict)
    return Outcome("new", job, tape, shown[0])


def same(outcome: Outcome, job: JobConfig, past: PastIncidents, verdicts: list, until: float = np.inf) -> None:
    """Check flags, severities and alerts of every sample before `until`, and the incidents if that is never."""
    opened, alerts, _ = outcome.verdicts(job)
    shape = outcome.tape["score"].shape
    flag, severity, alert = np.zeros(shape, bool), np.zeros(shape), np.zeros(shape, bool)
    entity = np.repeat(opened.entity, np.diff(opened.at))
    flag[opened.column, entity] = True
    severity[opened.column, entity] = opened.severity
    alert[opened.column, entity] = alerts.alert
    for at, verdict in enumerate(verdicts, outcome.first):
        if verdict.time >= until:
            return
        rows = [outcome.tape.keys[key] for key in verdict.keys]
        np.testing.assert_array_equal(flag[at, rows], verdict.flag, err_msg=str(at))
        np.testing.assert_array_equal(severity[at, rows], verdict.severity)
        np.testing.assert_array_equal(alert[at, rows], verdict.alert, err_msg=str(at))
        assert flag[at].sum() == verdict.flag.sum()
    found = {(each.key, each.start): each for each in outcome._incidents(job, opened, alerts)}
    expected = {(each.key, each.start): each for each in past.found}
    assert found.keys() == expected.keys()
    for each, theirs in expected.items():
        mine = outcome._with_evidence(found[each], job, opened)
        assert np.isnan(mine.needed) == np.isnan(theirs.needed), (mine, theirs)
        one, other = (dataclasses.replace(incident, needed=0.0) for incident in (mine, theirs))
        assert repr(one) == repr(other)
        assert mine.needed == theirs.needed or np.isnan(mine.needed)


CHOICES = [
    {},
    {"budget": 0.05},
    {"budget": 400.0},
    {"budget": 60.0, "least_deviation": 4.0},
    {"direction": "above"},
    {"direction": "below", "budget": 3.0},
    {"direction": "above", "least_deviation": 12.5, "budget": 0.5},
]


@pytest.mark.parametrize("peers", [None, []])
def test_every_choice_gives_what_another_replay_gives(peers):
    seed = 2
    base = {
        "expr": "value",
        "peers": peers,
        "step": STEP,
        "window": 3600.0,
        "history": 20_000.0,
        "budget": 1.0,
        "max_hold": 20_000.0,
    }
    source = Memory(value=fleet(seed))
    first, last = FIRST + 600, FIRST + 1999
    outcome = outcome_of(JobConfig.model_validate(base), source, first, last)
    asked = source.asked
    inexact = []
    for changed in CHOICES if peers is None else CHOICES[3:4]:
        job = JobConfig.model_validate(base | changed)
        decided = outcome.decide(Choice(job.direction, job.least_deviation, job.budget))
        until = np.inf if decided.exact else outcome.verdicts(job)[2].min()
        same(outcome, job, *replay_of(job, Memory(value=fleet(seed)), first, last), until=until)
        inexact.append(not decided.exact)
    assert source.asked == asked  # no query for a move
    assert peers is not None or not inexact[0]


def test_what_a_group_does_together_is_weighed_as_the_running_exporter_weighs_it(monkeypatch):
    """None of the series has the label of the group, so that all of them are one."""
    monkeypatch.setattr(chance, "_YOUNG", 3600.0)  # until then an incident must be as severe as that anyway
    base = {"expr": "value", "step": STEP, "window": 3600.0, "history": 20_000.0, "max_hold": 20_000.0}
    values = fleet(6, samples=1700)
    for start in (700, 1000, 1400):  # what all of them do at once, each for as long as it likes
        for row in range(len(values)):
            values[row, start + row : start + 30 + 9 * row] += 15.0 + 10.0 * row
    first, last = FIRST + 600, FIRST + 1699
    source, together = Memory(value=values), JobConfig.model_validate(base | {"group": ["rack"], "budget": 0.2})
    outcome = outcome_of(together, source, first, last)
    past, verdicts = replay_of(together, source, first, last)
    same(outcome, together, past, verdicts)
    _, others = replay_of(JobConfig.model_validate(base | {"budget": 0.2}), source, first, last)
    assert 0 < sum(each.alert.sum() for each in verdicts) < sum(each.alert.sum() for each in others)


class Services(Memory):
    """A source of services, whose deploys are known."""

    label = "service"


def deploys(values: np.ndarray, seed: int) -> np.ndarray:
    """Return where deploys are seen, and let some series rise after theirs, for a while or for good."""
    rng = np.random.default_rng(seed)
    told = np.full(values.shape, np.nan)
    for row in range(len(values)):
        for at in rng.integers(620, values.shape[1] - 90, 6).tolist():
            told[row, at] = 1.0
            values[row, at : at + int(rng.integers(1, 60))] += rng.choice([-1, 1]) * rng.uniform(3, 60)
    return told


@pytest.mark.parametrize("seed", [3, 4])
def test_deploys_are_heeded_as_the_running_exporter_heeds_them(seed):
    base = {
        "expr": "value", "step": STEP, "window": 3600.0, "history": 20_000.0, "budget": 4.0, "max_hold": 20_000.0,
        "deploys": {"presets": [], "expr": "deploys"},
    }  # fmt: skip
    values = fleet(seed)
    told = deploys(values, seed)
    first, last = FIRST + 600, FIRST + 1999
    outcome = outcome_of(JobConfig.model_validate(base), Services(value=values, deploys=told), first, last)
    for changed in CHOICES[::2]:
        job = JobConfig.model_validate(base | changed)
        decided = outcome.decide(Choice(job.direction, job.least_deviation, job.budget))
        until = np.inf if decided.exact else outcome.verdicts(job)[2].min()
        past, verdicts = replay_of(job, Services(value=values, deploys=told), first, last)
        same(outcome, job, past, verdicts, until=until)
        if not changed:
            assert decided.exact
            without = base | {"deploys": base["deploys"] | {"rarity": 1, "caution": "0s"}}
            _, others = replay_of(JobConfig.model_validate(without), Services(value=values, deploys=told), first, last)
            assert sum(each.flag.sum() for each in verdicts) != sum(each.flag.sum() for each in others)


def test_series_at_which_nothing_ever_was_unusual_are_quiet_by_every_choice():
    job = JobConfig.model_validate({"expr": "value", "step": STEP, "window": 3600.0, "history": 20_000.0})
    outcome = outcome_of(job, Memory(value=np.full((3, 900), 50.0)), FIRST + 600, FIRST + 899)
    for choice in (Choice(), Choice("above", 2.0, 9.0), Choice("below", 0.0, 0.1)):
        decided = outcome.decide(choice)
        assert (decided.found, decided.alerts, decided.exact, decided.notes) == (0, 0, True, [])
