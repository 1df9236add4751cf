"""Band and flag agree: a value outside the published band counts, one within does not, whatever the policy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors import Batch
from detectors.types import Judgement
from exporter.pipeline.normal_band import normal_band
from exporter.pipeline.policy import STAYS_OPEN, Policy

N = np.nan
number = st.floats(-20, 20)


def band(policy: Policy, expected: float = 10.0, lower: float = 8.0, upper: float = 12.0) -> list[float]:
    wide = (np.array([[each]]) for each in (expected, lower, upper, 1.0))
    found = normal_band(policy, Judgement(np.array([2.0]), *wide))
    return [float(each[0, 0]) for each in found]


@pytest.mark.parametrize(
    ("policy", "shown"),
    [
        (Policy(), [8, 12]),
        (Policy("above"), [N, 12]),
        (Policy("below"), [8, N]),
        (Policy(least_deviation=5), [5, 15]),
        (Policy(least_deviation=1), [8, 12]),
        (Policy(lowest=9, highest=11), [9, 11]),
        (Policy("above", lowest=0), [0, 12]),
        (Policy("above", least_deviation=5, highest=13), [N, 13]),
        (Policy("below", highest=10), [8, 10]),
        (Policy(lowest=20), [20, 20]),
        (Policy(false_alarms=2**2.4), [9, 11]),
        (Policy("above", least_deviation=1.5, false_alarms=2**2.4), [N, 11.5]),
        (Policy(false_alarms=0.5**2.4), [6, 14]),
        (Policy(highest=5), [5, 5]),
    ],
)
def test_the_band_is_that_of_the_policy(policy: Policy, shown: list[float]) -> None:
    assert band(policy) == pytest.approx(shown, nan_ok=True)


def test_the_valid_range_counts_without_a_forecast() -> None:
    assert band(Policy(lowest=0, highest=1), N, N, N) == [0, 1]
    assert band(Policy("above", 5.0), N, N, N) == pytest.approx([N, N], nan_ok=True)


@settings(deadline=None, max_examples=500)
@given(
    st.sampled_from(["above", "below", "both"]),
    st.sampled_from([0.0, 3.0]),
    st.tuples(st.one_of(st.just(-np.inf), number), st.one_of(st.just(np.inf), number)).filter(lambda e: e[0] <= e[1]),
    number,
    number,
)
def test_a_score_counts_exactly_where_the_value_is_outside(
    direction: str, least: float, valid: tuple[float, float], expected: float, value: float
) -> None:
    """The detector's own score is above 1 exactly outside its band of 2 to either side."""
    policy = Policy(direction, least, *valid)
    wide = [np.array([[each]]) for each in (expected, expected - 2, expected + 2, 1.0)]
    judgement = Judgement(np.array([5.0 if abs(value - expected) > 2 else 0.1]), *wide)
    score = policy.apply(judgement, Batch((((),)), ("value",), np.array([0.0]), np.array([[[value]]])))[0]
    lower, upper = (float(each[0, 0]) for each in normal_band(policy, judgement))
    outside = value < lower or value > upper
    at_the_edge = np.isclose([value, value], [lower, upper], rtol=0, atol=1e-9).any()
    assert (score > STAYS_OPEN) == outside or at_the_edge
