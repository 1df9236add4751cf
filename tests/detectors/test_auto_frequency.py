"""What comes more often than seven times a week, by an entity's own count, opens no more incidents than that."""

from datetime import UTC

import numpy as np
import pytest

from detectors import Floats
from detectors.auto import Auto, frequency
from detectors.calibration import KAPPA, Rows, score_of
from detectors.seasonality import SeasonalTime
from detectors.units import HOUR, WEEK
from tests.detectors.test_auto_day import batch
from tests.quality.kinds import Part, count
from tests.support.replay import replay

STEP = 300.0
EDGE = 1 / frequency.DAILY


def rows(held: bool = False) -> Rows:
    state = {name: column.rows(1) for name, column in frequency.columns().items()}
    return state | {"held": np.array([held])}


def learnt(return_periods: Floats, opens: bool = True, state: Rows | None = None, correction: float = 1.0) -> Rows:
    """Return the state after these return periods of one entity, which `correction` is a factor of."""
    state = rows() if state is None else state
    for number, period in enumerate(return_periods):
        at = SeasonalTime.at(STEP * number, STEP, UTC)
        frequency.learn(state, np.array([period]), np.array([correction]), np.array([opens]), at)
    return state


def weeks_of(times: int, weeks: int = 4) -> Floats:
    """Return quiet samples with an event so many times a week."""
    samples = round(WEEK / STEP)
    found = np.full(weeks * samples, 0.001)
    found[np.linspace(10, len(found) - 10, times * weeks).astype(int)] = 2 * EDGE
    return found


def score(state: Rows, period: float, correction: float = 1.0) -> float:
    return float(frequency.score(state, np.array([period]), frequency.exponent(state, np.array([correction])))[0])


def correction(state: Rows, step: float = HOUR) -> float:
    return float(frequency.correction(state, np.arange(1), step)[0])


def test_once_a_week_is_what_it_was_however_often_a_day_something_comes():
    for state in (rows(), learnt(weeks_of(0)), learnt(weeks_of(40))):
        for period in (1.0, 3.0, 52.0):
            assert score(state, period) == score_of(np.array([period]))[0]


def test_what_comes_twice_as_often_as_said_reaches_a_line_of_seven_half_as_often():
    line = frequency.DAILY ** (-1 / KAPPA)  # of the score
    often, seldom = learnt(weeks_of(28)), learnt(weeks_of(5))
    assert score(often, EDGE) < 0.75 * line
    assert score(often, 0.45) > line
    assert score(seldom, EDGE) > line


def test_scores_never_fall_as_the_evidence_grows():
    for state in (learnt(weeks_of(28)), learnt(weeks_of(1))):
        found = [score(state, period) for period in np.geomspace(1e-4, 10.0, 200)]
        assert (np.diff(found) > 0).all()


def test_an_event_that_rises_slowly_or_flickers_counts_once():
    slowly = np.concatenate([np.geomspace(0.01, 2 * EDGE, 30), [0.5 * EDGE, 2 * EDGE, 2 * EDGE], np.full(20, 0.01)])
    assert learnt(slowly)["daily_count"][0] == pytest.approx(1, abs=0.01)
    again = np.concatenate([slowly, slowly])
    assert learnt(again)["daily_count"][0] == pytest.approx(2, abs=0.05)


def test_nothing_counts_while_an_incident_is_open_or_none_could_open():
    held, quiet = learnt(weeks_of(20), state=rows(held=True)), learnt(weeks_of(20), opens=False)
    for state in (held, quiet):
        assert state["daily_count"][0] == state["daily_weeks"][0] == 0


def test_whether_an_incident_goes_on_is_not_corrected():
    state = learnt(weeks_of(28))
    state["held"][0] = True
    assert score(state, EDGE) == score_of(np.array([EDGE]))[0]


def test_a_state_of_the_version_before_is_read_and_nothing_is_counted_yet():
    auto = Auto()
    values = np.random.default_rng(1).normal(100, 3, (2, 400))
    replay(auto, batch(values))
    before = {name: array for name, array in auto.state().items() if not name.startswith("daily_")}
    restored = Auto().restore(before)
    assert restored.state()["daily_count"].tolist() == [0, 0]


def test_what_comes_less_often_than_said_is_made_commoner_at_coarse_steps_alone_and_by_three_at_most():
    seldom, often, never = (learnt(weeks_of(times, weeks=9)) for times in (3, 9, 0))
    assert 1 < correction(seldom) < correction(never) == 3
    assert correction(often) == correction(rows()) == 1
    assert correction(never, step=300.0) == 1


def test_the_count_does_not_follow_its_own_correction():
    periods = weeks_of(3)
    plain, corrected = learnt(periods), learnt(periods * 3, correction=3.0)
    assert corrected["daily_count"] == plain["daily_count"]


def test_what_was_corrected_is_not_corrected_again():
    state = learnt(weeks_of(3))
    factor = correction(state)
    for period in (0.1, 0.5):
        assert score(state, period, factor) == pytest.approx(score_of(np.array([period]))[0])


@pytest.mark.slow
def test_series_of_many_kinds_open_seven_incidents_a_week_where_that_is_the_line():
    part = Part(300.0, 7.0, 17, 2)
    counts = count([part], seed=20267)[part]
    opened = sum(each.opened for each in counts.values()) / sum(each.weeks for each in counts.values())
    assert 0.5 * 7 < opened < 1.3 * 7
