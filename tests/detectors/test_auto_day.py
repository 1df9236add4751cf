"""What `auto` knows of the day: types of day, noise by hour, and small lasting changes."""

from datetime import UTC, datetime

import numpy as np
import pytest

from detectors import Batch, Floats
from detectors.auto import Auto, noise
from detectors.seasonality import SeasonalTime
from tests.support.batches import keys
from tests.support.replay import openings, replay

MONDAY = datetime(2026, 3, 2, tzinfo=UTC).timestamp()
STEP, PER_DAY = 300.0, 288


def batch(values: Floats) -> Batch:
    """Wrap values of shape (E, T)."""
    return Batch(keys(len(values)), ("value",), MONDAY + STEP * np.arange(values.shape[1]), values[:, None])


def business(count: int, days: int, seed: int) -> Floats:
    """Return traffic of weekdays and weekends as counts, shape (count, T)."""
    rng, t = np.random.default_rng(seed), np.arange(days * PER_DAY)
    weekend = np.convolve((t // PER_DAY) % 7 >= 5, np.ones(12) / 12, "same")
    shape = (1 + 0.5 * np.sin(2 * np.pi * t / PER_DAY)) * (1 - 0.35 * weekend)
    return rng.poisson(600 * shape, (count, len(t))).astype(float)


@pytest.mark.parametrize("zone", [UTC])
def test_hours_of_weekdays_and_of_weekends_are_apart(zone):
    friday, saturday = (SeasonalTime.at(MONDAY + day * 86_400 + 12 * 3_600, 60.0, zone).day_type for day in (4, 5))
    assert (friday[:2], saturday[:2]) == ((11, 12), (35, 36))
    midnight = SeasonalTime.at(MONDAY + 5 * 86_400, 60.0, zone).day_type
    assert midnight[:2] == (23, 24), "Friday's last hour, then Saturday's first"
    assert SeasonalTime.at(MONDAY, 60.0, zone).day_type[:2] == (47, 0)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_first_weekend_costs_about_one_incident_and_monday_is_judged_as_before(seed):
    values = business(24, 8, seed)
    values[:12, 7 * PER_DAY + 150 : 7 * PER_DAY + 174] *= 0.5  # half of Monday's traffic is gone for two hours
    _, flag = replay(Auto(), batch(values))
    weekend = openings(flag)[:, 5 * PER_DAY : 7 * PER_DAY].sum(axis=1)
    assert weekend.mean() < 1.7
    assert weekend.max() <= 3
    found = flag[:12, 7 * PER_DAY + 150 : 7 * PER_DAY + 152].any(axis=1)
    assert found.mean() > 0.8


def test_an_outage_is_found_and_held_on_the_first_saturday_too_though_its_forecast_is_a_guess():
    values = business(24, 6, seed=8)
    outage = slice(5 * PER_DAY + 150, 5 * PER_DAY + 174)
    values[:, outage] *= 0.2
    _, flag = replay(Auto(), batch(values))
    assert flag[:, outage][:, :2].any(axis=1).mean() > 0.9
    assert flag[:, outage].mean() > 0.8
    assert openings(flag)[:, 5 * PER_DAY : outage.start].sum(axis=1).mean() <= 1


@pytest.mark.parametrize("seed", [3, 4])
def test_half_of_the_traffic_is_missed_within_ten_minutes_by_night_too(seed):
    values = business(24, 15, seed)
    first = 14 * PER_DAY + 210  # the quiet hours
    values[:, first : first + 24] *= 0.5
    _, flag = replay(Auto(), batch(values))
    assert flag[:, first : first + 2].any(axis=1).mean() > 0.9
    assert flag[:, first + 2 : first + 24].mean() > 0.95


@pytest.mark.parametrize("seed", [5, 6])
def test_the_noise_of_quiet_hours_is_known_in_the_fourth_night(seed):
    # In its first days a series is compared with its level, which misses most where the rhythm is, not the noise.
    history = batch(business(24, 4, seed)[:, : 3 * PER_DAY + 217])  # the lowest point
    detector = Auto()
    replay(detector, history)
    judged = detector.score(history.last(2))
    half = (judged.upper - judged.lower)[:, 0] / 2
    assert np.median(half / np.sqrt(judged.expected[:, 0])) < 12


def test_the_forecast_of_the_third_day_follows_a_slope():
    t = np.arange(2 * PER_DAY + 30)
    slope = 100.0 + 50.0 * np.abs((t / PER_DAY + 0.1) % 1.0 - 0.5)
    noise = np.random.default_rng(7).normal(0.0, 0.05, (24, len(t)))
    detector, history = Auto(), batch(slope + noise)
    replay(detector, history)
    assert np.abs(detector.score(history.last(2)).expected[:, 0] - slope[-1]).max() < 0.027


def test_noise_in_proportion_to_counts_is_expected_before_an_hour_is_known():
    rows = {
        "reference": np.array([50.0, 50.0, -50.0, 50.0]),
        "lowest": np.array([-50.0, -50.0, 0.0, -50.0]),
        "mean": np.array([50.0, 50.0, 150.0, 50.0]),
    }
    heavier, known = np.array([1.0, 1.0, 1.0, 6.0]), np.array([True, False, True, True])
    found = noise.of_counts(rows, np.array([350.0, 350.0, 350.0, 350.0]), known, heavier)
    np.testing.assert_allclose(found, [2.0, 1.0, 1.0, 1.0])  # not known; has been negative; of what is rare
