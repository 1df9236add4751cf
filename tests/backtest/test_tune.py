"""What other settings would have cost: decided as in the running exporter, from the scores of one run."""

import json

import numpy as np
import pytest

from exporter.backtest.entity_result import EntityResult, Run
from exporter.backtest.history import VerdictHistory
from exporter.backtest.quality import Figures, figures, overall
from exporter.backtest.read_csv import Series
from exporter.backtest.replay import make_job, replay, replay_group
from exporter.backtest.resample import group
from exporter.backtest.tune import Trial, advice, decided, trials
from exporter.config.sections.job import JobConfig
from exporter.context.deploy_book import DeployBook
from exporter.context.own_deploys import OwnDeploys
from exporter.pipeline.policy import Policy
from tests.preview.test_decided_again import Services, deploys, fleet
from tests.support.command import backtest
from tests.support.memory_source import FIRST

STEP, START, ROWS = 60.0, 1_000_020.0, 900


def run_of(**changes):
    """Three noisy series; the first has a labelled outage, all have small spikes that mean nothing."""
    rng = np.random.default_rng(0)
    values = 10 + rng.normal(size=(3, 1, ROWS))
    values[0, 0, 500:560] -= 60.0
    label = np.zeros(ROWS)
    label[500:560] = 1
    for entity in range(3):
        values[entity, 0, 200 + 37 * entity :: 151] += 12.0
    times = START + STEP * np.arange(ROWS)
    every = [
        Series(f"e{at}", [""] * ROWS, times, ("value",), each, label * (at == 0)) for at, each in enumerate(values)
    ]
    (only,) = group(every, STEP)
    config = JobConfig.model_validate({"expr": "q", "window": "60m", "detector": "robust", **changes})
    record = replay_group("job", config, only, 1)
    outcomes = [
        EntityResult(record, row, only.slots[row], each.name, each.stamps, times, each.label, 1.0)
        for row, each in enumerate(every)
    ]
    return Run(config, record, outcomes, 0)


def figures_of(run):
    return overall("job", [figures(each) for each in run.results], 1.0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"direction": "below", "least_deviation": 3.0},
        {"open_after": 2, "false_alarms": "2 per week"},
        {"valid_range": [0, None]},
        {"budget": "100 per week"},
        {"budget": "100 per week", "group": ["rack"]},
    ],
)
def test_the_setting_of_the_run_gives_the_flags_and_alerts_of_the_run(changes):
    run = run_of(**changes)
    ((flag, alert),) = decided(run, [(run.config.false_alarms, run.config.least_deviation)])
    np.testing.assert_array_equal(flag, run.history.flag)
    np.testing.assert_array_equal(alert, run.history.alert)
    assert flag.any()


def test_a_least_deviation_gives_the_flags_of_a_run_made_with_it_where_nothing_is_learnt_otherwise():
    ((flag, _),) = decided(run_of(), [(1.0, 20.0)])
    np.testing.assert_array_equal(flag, run_of(least_deviation=20.0).history.flag)


def test_trials_cover_lines_and_the_deviations_of_false_incidents_and_the_advice_names_the_best():
    run = run_of()
    found = trials("job", [run], figures_of(run))
    assert [(trial.false_alarms, trial.least_deviation) for trial in found[:6]] == [
        (1, 0), (0.1, 0), (0.25, 0), (0.5, 0), (2, 0), (7, 0)
    ]  # fmt: skip
    assert all(10 < trial.least_deviation < 18 for trial in found[6:])
    assert len(found) > 7
    made, widest = found[0].figures, max(found, key=lambda trial: trial.least_deviation).figures
    assert (made.found, widest.found) == (1, 1)
    assert made.false > 10 > widest.false
    said = advice(found, 1.0)
    assert said.startswith("advice: set least_deviation: 1")
    assert f"{made.false - widest.false} of {made.false} false incidents less, no event lost" in said


def trial(line, found, false, events=10):
    return Trial(line, 0.0, Figures("job", True, events=events, found=found, false=false, weeks=1.0, alerts=2))


@pytest.mark.parametrize(
    ("others", "wanted"),
    [
        (
            [trial(0.5, 6, 37), trial(0.25, 5, 2)],
            "set false_alarms: 0.5 per week: 3 of 40 false incidents less, no event lost",
        ),
        ([trial(0.25, 5, 2)], "set false_alarms: 0.25 per week: 38 of 40 false incidents less, 1 of 10 events less"),
        ([trial(2.0, 6, 20)], "keep the settings"),  # looser and no more found: only fewer, longer incidents
        ([trial(2.0, 10, 42)], "set false_alarms: 2 per week: 2 of 40 false incidents more, 4 of 10 events more"),
        ([trial(0.5, 1, 39)], "keep the settings"),
    ],
)
def test_advice_prefers_what_loses_nothing_and_says_what_is_lost(others, wanted):
    assert wanted in advice([trial(1.0, 6, 40), *others], 1.0)
    assert "a week at a budget of 1" in advice([trial(1.0, 6, 40), *others], 1.0) or "keep" in wanted


def test_without_labels_only_the_cost_is_told():
    made = Trial(1.0, 0.0, Figures("job", openings=9, alerts=5, weeks=1.0))
    calm = Trial(0.1, 0.0, Figures("job", openings=2, alerts=1, weeks=1.0))
    assert "set false_alarms: 0.1 per week: 1 alerts a week at a budget of 1; nothing says what" in advice(
        [made, calm], 1.0
    )
    assert "keep the settings" in advice([calm, made], 1.0)


def test_the_command_prints_the_table_and_the_advice_and_has_both_as_json(put, noise):
    path = put("a.csv", timestamp=np.arange(0, 24_000, 60), v=noise(1, 400, [150, 250]), label=[0] * 400)
    text = backtest("--data", path, "--tune").stdout
    assert "other settings" in text
    assert "0.25 per week" in text
    assert "advice: " in text
    found = json.loads(backtest("--data", path, "--tune", "--json").stdout)
    assert found["tune"][0]["false_alarms"] == 1.0
    assert found["tune"][0]["false"] == found["overall"]["false"]
    assert not found["advice"].startswith("advice")


def test_the_caution_after_deploys_is_that_of_the_run():
    values = fleet(3)
    source = Services(value=values, deploys=deploys(values, 3))
    job = {"expr": "value", "step": STEP, "window": 3600.0, "history": 20_000.0, "detector": "robust", "budget": 9.0}
    config = JobConfig.model_validate(job | {"deploys": {"presets": [], "expr": "deploys"}})
    live = make_job("new", config, source, hold=True)
    live.deploys = OwnDeploys(DeployBook(source), waits=True)
    first, last = FIRST + 600, FIRST + 1999
    history = VerdictHistory(STEP * np.arange(first, last + 1), STEP, policy=Policy.of(config))
    for verdict in replay(live, first, last, lambda _: None):
        history.add(verdict)
    assert history.careful.any()
    ((flag, alert),) = decided(Run(config, history, [], 0), [(config.false_alarms, config.least_deviation)])
    np.testing.assert_array_equal(flag[:, 60:], history.flag[:, 60:])  # one incident is from before the first column
    history.careful[:] = False
    ((_, other),) = decided(Run(config, history, [], 0), [(config.false_alarms, config.least_deviation)])
    assert (alert != history.alert).sum() < (other != history.alert).sum()
