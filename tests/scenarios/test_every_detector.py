"""What every detector finds through the cycle, whatever else it may be good or bad at."""

import numpy as np
import pytest

from tests.support.cycles import HOUR, judged
from tests.support.every_detector import every_detector, judged_by

EVERY = pytest.mark.parametrize("detector", every_detector("peers"))  # to which nothing happens when all fail


def steady(rng, *shape):
    return 100 + 3 * rng.standard_t(6, shape)


@EVERY
def test_a_drop_to_zero_is_found_held_and_over(detector):
    begin = 26 * HOUR if detector in {"auto", "half_space_trees"} else 8 * HOUR  # a day is what these need
    end = begin + 2 * HOUR
    series = {f"e{seed}": steady(np.random.default_rng([4, seed]), end + 30) for seed in range(6)}
    for name in ("e0", "e1", "e2", "e3"):
        series[name][begin:end] = 0
    lead = begin - HOUR  # what was before is history, read at the start
    score, flag = judged(series, lead=lead, **judged_by(detector))
    hit, others = flag[:4], score[4:]
    assert hit[:, begin : begin + 5].any(axis=1).all()
    assert hit[:, begin + 5 : end].all()
    assert hit[:, end + 10 :].mean() < 0.3  # but for what chance may flag
    assert (others[:, begin:end] > 1).mean() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("detector", every_detector("auto", "peers"))  # which has two weeks of its own for it
@pytest.mark.parametrize("channels", [1, 2])
def test_an_outage_in_the_training_history_costs_little_of_what_is_found(detector, channels):
    """Half of the entities were down for an hour and a half of the history; incidents of several kinds come after."""
    begin, kinds = 14 * HOUR, (0.0, 0.2, 0.5, 1.6, 3.0)
    found = {}
    for outage in (False, True):
        series = {}
        for number in range(10):
            values = steady(np.random.default_rng([5, number]), channels, begin + 2 * HOUR)
            if outage and number >= 5:
                values[:, 5 * HOUR : 5 * HOUR + 90] = 0
            values[:, begin + HOUR : begin + 2 * HOUR] *= kinds[number % len(kinds)]
            series[f"e{number}"] = values
        _, flag = judged(series, lead=begin, **judged_by(detector))
        found[outage] = flag[:, begin + HOUR :]
    assert found[False].mean() > 0.8
    assert found[True].mean() >= 0.9 * found[False].mean()
