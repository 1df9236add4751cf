"""A tail fitted to the row's own maxima: light noise gets a near line, failures keep a wide one."""

import numpy as np
import pytest

from detectors.calibration import BINS, EDGES, Rows
from detectors.fitted_tails import _RARER, LINE, FittedTailRates, _crossing, _law
from detectors.units import HOUR

TAILS = FittedTailRates("t_", 1)
FIRST = np.zeros(1, np.intp)


def taught(maxima: np.ndarray) -> Rows:
    """Return the state of one row after hours with these maxima."""
    rows: Rows = {name: column.rows(1) for name, column in TAILS.columns().items()}
    yes = np.ones((1, 1), np.bool_)
    for value in maxima:
        TAILS.learn(rows, np.full((1, 1), value), yes[0], yes, HOUR)
    return rows


def rate(rows: Rows, value: float, penalty: float = 0.0) -> float:
    return float(_RARER / TAILS.evidence(rows, np.full((1, 1), value), np.full((1, 1), penalty)).return_period[0])


def hours(tail: str, weeks: int, seed: int) -> np.ndarray:
    """Return hourly maxima in units of six deviations."""
    rng = np.random.default_rng(seed)
    draw = rng.standard_normal if tail == "normal" else lambda size: rng.standard_t(3, size) / np.sqrt(3)
    return np.abs(draw((168 * weeks, 60))).max(axis=1) / 6


def test_a_new_series_expects_one_incident_a_week_at_one():
    assert rate(taught(np.empty(0)), 1.0) == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(3))
def test_light_noise_gets_a_near_line_and_wide_tails_a_far_one(seed):
    light, wide = (TAILS.reach(taught(hours(tail, 4, seed)), np.zeros(1), FIRST)[0] for tail in ("normal", "t3"))
    assert light < 1.0 < wide


@pytest.mark.parametrize("tail", ["normal", "t3"])
@pytest.mark.parametrize("seed", range(3))
def test_the_rate_is_kept_in_the_weeks_that_follow(tail, seed):
    line = TAILS.reach(taught(hours(tail, 4, seed)), np.zeros(1), FIRST)[0]
    later = hours(tail, 200, seed + 100)
    assert (
        0 < (later > line).sum() / 200 < 2.5 * LINE
    )  # four weeks are four events; on the safe side where noise is light


def test_the_line_is_where_the_rate_is_reached():
    rows = taught(hours("normal", 4, 0))
    line = float(TAILS.reach(rows, np.zeros(1), FIRST)[0])
    assert rate(rows, line * 1.2) < LINE < rate(rows, line / 1.2)


def test_a_penalty_moves_the_line_out():
    rows = taught(hours("normal", 4, 0))
    near, far = (TAILS.reach(rows, np.full(1, penalty), FIRST)[0] for penalty in (0.0, 3.0))
    assert near < far
    assert rate(rows, 1.0, penalty=3.0) > rate(rows, 1.0)


def test_a_correction_moves_the_line_in_to_where_the_rate_is_what_it_was():
    rows = taught(hours("normal", 4, 0))
    before = float(TAILS.reach(rows, np.zeros(1), FIRST)[0])
    TAILS.correct(rows, FIRST, np.array([3.0]))
    line = float(TAILS.reach(rows, np.zeros(1), FIRST)[0])
    assert line < before
    assert rate(rows, line * 1.2) < LINE < rate(rows, line / 1.2)


def test_one_failure_far_out_does_not_make_the_tail():
    maxima = hours("normal", 4, 0)
    before = TAILS.reach(taught(maxima), np.zeros(1), FIRST)[0]
    rows = taught(maxima)
    rows["t_incident"][...] = 40.0
    TAILS.close(rows, FIRST)
    assert TAILS.reach(rows, np.zeros(1), FIRST)[0] < 1.05 * before
    assert rate(rows, 2.0) > 0.1, "the evidence knows of it"


def test_a_few_rates_tell_where_the_line_is_as_all_of_them_do():
    rng = np.random.default_rng(5)
    exponent, unit = rng.uniform(1.6, 16.0, (2000, 1)), rng.lognormal(0, 2, (2000, 1))
    counts = np.cumsum(rng.poisson(0.3, (2000, BINS)), axis=1)[:, ::-1] * (rng.random((2000, 1)) < 0.7)
    rates = _law(np.log(EDGES / unit), exponent) + counts
    first = np.where((rates <= LINE).any(axis=1), (rates <= LINE).argmax(axis=1), BINS - 1)
    found = _crossing(lambda at: np.take_along_axis(rates, at[:, None], axis=1)[:, 0], (2000,))
    before = EDGES[np.maximum(first - 1, 0)]
    assert (before <= found * (1 + 1e-12)).all()
    assert (found <= EDGES[first] * (1 + 1e-12)).all()
    assert {0, BINS - 1} < set(first.tolist())
