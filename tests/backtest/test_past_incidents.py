"""What is kept of the incidents of a replay."""

import math

import numpy as np

from exporter.backtest.past_incidents import PastIncidents
from exporter.config.sections.job import JobConfig
from exporter.pipeline.alert_budget import AlertBudget
from tests.support.verdicts import key, verdict

A, B = key(i="a"), key(i="b")


class NoBudget(AlertBudget):
    """Asks for a severity of 5, whoever it is."""

    def __init__(self) -> None:
        super().__init__(1.0, 1.0)

    def needed(self, rows, elapsed):
        return np.full(len(rows), 5.0)


def collected(rows, **job):
    """Return the incidents of verdicts a minute apart: each of (since, alert) by entity, None where none is open."""
    past = PastIncidents("cpu", JobConfig.model_validate({"expr": "up", **job}))
    for minute, row in enumerate(rows):
        keys = tuple(row)
        flag = [each is not None for each in row.values()]
        made = verdict(
            keys,
            flag=flag,
            alert=[each is not None and each[1] for each in row.values()],
            since=[math.nan if each is None else each[0] for each in row.values()],
            severity=[float(minute) if on else 0.0 for on in flag],
        )
        object.__setattr__(made, "time", 60.0 * minute)
        past.add(made, NoBudget())
    return past


def test_an_incident_is_from_its_own_beginning_to_the_verdict_that_closes_it():
    past = collected([{A: None}, {A: (60.0, False)}, {A: (60.0, True)}, {A: None}, {A: (240.0, False)}])
    first, second = past.found
    assert (first.start, first.end, first.still_open, first.severity) == (60.0, 180.0, False, 2.0)
    assert (first.fired, first.alerted) == (120.0, True)
    assert (second.start, second.end, second.still_open, second.needed) == (240.0, 240.0, True, 5.0)
    assert past.alerts == 1


def test_what_was_open_before_the_range_is_listed_and_counts_as_no_alert_of_it():
    past = collected([{A: (-3600.0, True), B: None}, {A: (-3600.0, True), B: (60.0, True)}, {A: None, B: None}])
    assert [(each.start, each.alerted) for each in past.found] == [(-3600.0, True), (60.0, True)]
    assert past.alerts == 1


def test_an_entity_that_goes_away_and_an_incident_on_the_heels_of_another_end_the_one_before():
    past = collected([{A: (0.0, False), B: None}, {B: None}, {A: (120.0, False), B: None}, {A: (180.0, False)}])
    assert [(each.start, each.end, each.still_open) for each in past.found] == [
        (0.0, 60.0, False), (120.0, 180.0, False), (180.0, 180.0, True),
    ]  # fmt: skip
    assert past.entities == {A, B}


def test_an_alert_fires_when_its_for_is_over_and_every_flag_is_one_where_the_job_says_so():
    rows = [{A: None}, {A: (60.0, False)}, {A: (60.0, True)}, {A: (60.0, True)}, {A: (60.0, True)}, {A: None}]
    [patient] = collected(rows, alert={"for": "2m"}).found
    [impatient] = collected(rows, alert={"for": "5m"}).found
    [every] = collected(rows, alert={"metric": "flag"}).found
    [unpublished] = collected(rows, publish=["value"]).found
    assert (patient.fired, every.fired, unpublished.fired) == (240.0, 60.0, 60.0)
    assert not impatient.alerted
    assert impatient.held_since == 120.0


def test_time_without_any_score_is_not_judged_though_every_sample_there_was_has_one():
    past = collected([{A: None}] * 4)
    assert past.share_judged == 1
    nothing = verdict((A,), values=[[math.nan]], score=[math.nan])
    for _ in range(4):
        past.add(nothing, NoBudget())
    assert past.share_judged == 0.5
