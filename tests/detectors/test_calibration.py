"""Values become rates per week: by the law of the young, by the own history of the old."""

import numpy as np
import pytest

from detectors.calibration import BINS, EDGES, KAPPA, MEMORY, PRIOR_WEEKS, Rows, TailRates, score_of
from detectors.units import HOUR, WEEK

TAILS = TailRates("t_", 2)
STEP = 900.0
BLOCKS = int(HOUR / STEP)


def rows(count: int) -> Rows:
    return {name: column.rows(count) for name, column in TAILS.columns().items()}


def learn(state: Rows, values: np.ndarray, active: bool = True) -> None:
    """Feed values of shape (samples, R) to the first stream; the second one sees nothing."""
    for value in values:
        q = np.stack([value, np.zeros_like(value)], axis=1)
        TAILS.learn(state, q, np.ones(len(value), np.bool_), np.full(q.shape, active), STEP)


def rate(state: Rows, q: float, youth: float = 0.0) -> np.ndarray:
    """Return the first stream's rate per week, shape (R,)."""
    size = len(state["t_filled"])
    values = np.full((size, 1), q)
    found = TAILS.evidence(state, values, np.full((size, 1), youth), np.zeros((size, 1), np.intp))
    return 1.0 / found.return_period


def test_a_stream_never_seen_follows_the_power_law():
    for q in (1.0, 2.0, 8.0):
        np.testing.assert_allclose(rate(rows(3), q), q**-KAPPA)


def test_one_is_the_score_of_one_event_a_week():
    assert score_of(np.array([1.0]))[0] == 1.0


def test_youth_makes_the_same_value_less_rare():
    np.testing.assert_allclose(rate(rows(1), 2.0, youth=3.0), 4.0 * 2.0**-KAPPA)


def test_the_rate_of_an_old_series_is_how_often_it_was_seen():
    state, weeks = rows(1), 6
    values = np.full((weeks * 168 * BLOCKS, 1), 0.3)
    values[:: 168 * BLOCKS // 2] = 3.0  # twice a week
    learn(state, values)
    assert 1.2 < rate(state, 2.9)[0] < 2.0  # decayed, and drawn to the law's 0.08 a week
    assert rate(state, 6.0)[0] < 0.2


def test_only_the_largest_value_of_an_hour_counts():
    state = rows(2)
    values = np.full((BLOCKS, 2), 0.1)
    values[1, 0] = values[2, 0] = 5.0
    values[:, 1] = 5.0
    learn(state, values)
    np.testing.assert_array_equal(state["t_counts"][0], state["t_counts"][1])
    np.testing.assert_array_equal(state["t_counts"][0, 0], EDGES <= 5.0)


def test_an_incident_counts_once_when_it_ends_however_long_it_was_and_does_not_move_the_band():
    """It tells how often such values come, and nothing about what comes by chance."""
    state = rows(1)

    def band():
        return TAILS.quantile(state, np.zeros(1), np.zeros(1, np.intp), 0.5)

    before = band()
    for _ in range(30 * BLOCKS):
        TAILS.learn(state, np.array([[9.0, 1.0]]), np.zeros(1, np.bool_), np.ones((1, 2), np.bool_), STEP)
    assert state["t_counts"].max() == 0
    assert state["t_weeks"].max() == 0
    TAILS.close(state, np.array([0]))
    np.testing.assert_array_equal(state["t_counts"][0, 0], EDGES <= 9.0)
    np.testing.assert_array_equal(state["t_counts"][0, 1], EDGES <= 1.0)
    np.testing.assert_array_equal(band(), before)
    TAILS.close(state, np.array([0]))
    assert state["t_counts"].max() == 1


def test_history_is_forgotten():
    state = rows(1)
    learn(state, np.full((BLOCKS, 1), 4.0))
    before = state["t_counts"][0, 0, 0]
    learn(state, np.full((BLOCKS * 168 * 4, 1), 0.01))
    assert state["t_counts"][0, 0, 0] == pytest.approx(before * np.exp(-4 * WEEK / MEMORY), rel=1e-3)
    assert state["t_weeks"][0, 0] < MEMORY / WEEK


def test_a_stream_that_does_not_exist_yet_gathers_no_weeks():
    state = rows(1)
    learn(state, np.full((BLOCKS * 24, 1), 4.0), active=False)
    assert state["t_weeks"].max() == state["t_counts"].max() == 0


def test_a_heavier_tail_than_the_law_widens_it():
    state = rows(2)
    values = np.random.default_rng(0).uniform(0.3, 0.6, (3 * 168 * BLOCKS, 2))
    values[:: 12 * BLOCKS, 0] = 4.0  # fourteen a week, where the law expects 0.04
    learn(state, values)
    heavy, light = rate(state, 30.0)
    assert heavy > 5 * light


def test_the_band_ends_where_its_rate_is_reached():
    state = rows(200)
    learn(state, np.random.default_rng(1).pareto(3.0, (2 * 168 * BLOCKS, 200)) * 0.3)
    edge = TAILS.quantile(state, np.full(200, 0.5), np.zeros(200, np.intp), per_week=1.0)
    values = np.stack([edge * 1.001, edge / 1.25], axis=1)
    for q, rare in zip(values.T, (True, False), strict=True):
        found = TAILS.evidence(state, q[:, None], np.full((200, 1), 0.5), np.zeros((200, 1), np.intp))
        assert ((1.0 / found.return_period <= 1.0) == rare).mean() > 0.95


def test_streams_that_agree_add_up_and_a_silent_one_takes_nothing_away():
    state = rows(1)
    both = TAILS.evidence(state, np.array([[2.0, 2.0]]), np.zeros((1, 2)))
    one = TAILS.evidence(state, np.array([[2.0, 0.0]]), np.zeros((1, 2)))
    np.testing.assert_allclose(both.return_period, 2 * one.return_period)
    np.testing.assert_allclose(one.return_period, 2.0**KAPPA)
    np.testing.assert_allclose(one.return_period, one.unpenalised)


def test_any_value_has_a_rate():
    values = np.array([[0.0, 1e-300], [1e300, np.inf], [EDGES[-1], EDGES[0]]])
    found = TAILS.evidence(rows(3), values, np.ones((3, 2)))
    assert np.isfinite(found.return_period).all()
    assert (np.diff(EDGES) > 0).all()
    assert len(EDGES) == BINS
    assert PRIOR_WEEKS > 0
