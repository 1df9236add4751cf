"""What the profiles know, from when on, and what they do not take for normal."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from detectors import Batch, make
from detectors.entity_state import KEYS_FIELD, decode_keys
from tests.support.batches import batch, keys, noise, walk

STEP = 900.0
DAY = 96  # samples
MONDAY = 1_709_510_400.0  # 2024-03-04 00:00 UTC


def live(detector, values, start=MONDAY, step=STEP, max_hold=86_400.0, hold=True):
    """Judge and learn every sample as the cycle does; return scores and whether an incident is open, shape (E, T)."""
    entities, _, samples = values.shape
    names, times = keys(entities), start + step * np.arange(samples)
    scores, flags = np.full((entities, samples), np.nan), np.zeros((entities, samples), np.bool_)
    since = np.full(entities, np.inf)
    for now in range(1, samples):
        part = Batch(names, ("c0",), times[now - 1 : now + 1], values[:, :, now - 1 : now + 1])
        scores[:, now] = detector.score(part).score
        open_ = hold & (scores[:, now] > 1)
        since = np.where(open_, np.minimum(since, times[now]), np.inf)
        adopted = open_ & (times[now] - since >= max_hold)
        since[adopted] = np.inf
        flags[:, now] = open_ & ~adopted
        detector.update(part.last(1), flags[:, now], adopted)
    return scores, flags


def hours(samples, step=STEP):
    return np.arange(samples) * step / 3600 % 24


def daily(days, seed=0, amplitude=20.0):
    return noise(4, 1, days * DAY, seed) + amplitude * np.sin(2 * np.pi * hours(days * DAY) / 24)


def at(detector, time, value):
    """Judge `value`, one or an array of shape (E, 1), at `time` for every entity."""
    names = decode_keys(detector.state()[KEYS_FIELD])
    values = np.full((len(names), 1, 2), np.nan)
    values[:, :, 1] = value
    return detector.score(Batch(names, ("c0",), np.array([time - STEP, time]), values))


def test_a_value_usual_at_night_is_anomalous_by_day():
    detector = make("seasonal", 60)
    _, flags = live(detector, daily(8))
    assert flags[:, 2 * DAY :].mean() < 0.001
    start = MONDAY + 8 * 86_400.0
    trough, peak = at(detector, start + 18 * 3600, 80.0), at(detector, start + 6 * 3600, 80.0)
    assert (trough.score < 1).all()
    assert (peak.score > 1).all()
    np.testing.assert_allclose(trough.expected, 80.0, atol=1.5)
    np.testing.assert_allclose(peak.expected, 120.0, atol=1.5)


def test_a_score_of_one_is_the_edge_of_the_band():
    detector = make({"seasonal": {"deviations": 4}}, 60)
    live(detector, daily(8))
    time = MONDAY + 8 * 86_400.0 + 3 * 3600
    band = at(detector, time, 100.0)
    assert (band.lower < band.expected).all()
    assert (band.expected < band.upper).all()
    for edge in (band.lower, band.upper):
        np.testing.assert_allclose(at(detector, time, edge).score, 1.0)


def test_what_comes_half_an_hour_late_is_no_surprise():
    detector = make("seasonal", 60)
    values = noise(4, 1, 6 * DAY)
    values[:, :, (hours(6 * DAY) >= 8) & (hours(6 * DAY) < 18)] += 100.0
    live(detector, values)
    start = MONDAY + 6 * 86_400.0
    assert (at(detector, start + 8.25 * 3600, 100.0).score < 1).all()
    assert (at(detector, start + 12 * 3600, 100.0).score > 1).all()


def test_a_long_nightly_batch_is_known_from_the_fourth_night():
    values = noise(4, 1, 9 * DAY)
    values[:, :, (hours(9 * DAY) >= 22)] += 200.0
    _, flags = live(make("seasonal", 60), values)
    assert flags[:, :DAY].any(axis=1).all()
    assert flags[:, 3 * DAY :].mean() < 0.002


def test_a_weekend_dip_is_known_from_the_second_weekend():
    values = daily(21)
    day = np.arange(21 * DAY) // DAY % 7
    values[:, :, day >= 5] *= 0.5
    _, flags = live(make("seasonal", 60), values)
    assert flags[:, 5 * DAY : 6 * DAY].mean() > 0.9
    assert flags[:, 8 * DAY + DAY // 4 :].mean() < 0.01


def test_a_drop_at_its_hour_is_held_to_its_end_and_cleared_at_once():
    values = daily(16)
    values[:, :, 15 * DAY + 20 : 15 * DAY + 40] *= 0.2
    _, flags = live(make("seasonal", 60), values)
    assert flags[:, 15 * DAY + 20 : 15 * DAY + 40].all()
    assert not flags[:, 15 * DAY + 40 :].any()


def test_a_lasting_shift_is_adopted_with_the_whole_profile():
    values = daily(24)
    values[:, :, 16 * DAY + 30 :] += 300.0
    detector = make("seasonal", 60)
    _, flags = live(detector, values)
    assert flags[:, 16 * DAY + 30 : 17 * DAY + 30].all()
    assert flags[:, 17 * DAY + 35 :].mean() < 0.01
    assert detector.state()["reference"].min() > 300.0


def test_a_new_spread_comes_with_an_adopted_level():
    values = np.full((2, 1, 6 * DAY), 5.0)
    values[:, 0, 2 * DAY :] = 100.0 + 3.0 * noise(2, 1, 4 * DAY)[:, 0]
    _, flags = live(make("seasonal", 60), values)
    assert flags[:, 2 * DAY : 3 * DAY].all()
    assert flags[:, 3 * DAY + 4 :].mean() < 0.02


def test_nothing_is_learnt_while_held_but_hours_never_seen():
    detector = make("seasonal", 60)
    live(detector, daily(10))
    before = detector.state()
    start = MONDAY + 10 * 86_400.0  # a Thursday morning, seen once
    part = Batch(decode_keys(before[KEYS_FIELD]), ("c0",), start + STEP * np.arange(8), np.full((4, 1, 8), 500.0))
    detector.update(part, np.ones(4, np.bool_), np.zeros(4, np.bool_))
    after = detector.state()
    for name in ("reference", "level", "day", "day_visits", "week", "week_visits", "error", "learnt"):
        np.testing.assert_array_equal(before[name], after[name], err_msg=name)
    young = make("seasonal", 60)
    young.update(part, np.ones(4, np.bool_), np.zeros(4, np.bool_))
    assert young.state()["week_visits"].any()
    assert not young.state()["learnt"].any()


@pytest.mark.parametrize(("zone", "right"), [("Europe/Berlin", True), ("UTC", False)])
def test_office_hours_keep_their_place_when_clocks_change(zone, right):
    berlin = ZoneInfo("Europe/Berlin")
    start = datetime(2024, 3, 18, tzinfo=berlin).timestamp()  # clocks change on the 31st
    times = start + STEP * np.arange(21 * DAY)
    local = np.array([datetime.fromtimestamp(time, berlin).hour for time in times])
    values = noise(4, 1, 21 * DAY) + np.where((local >= 8) & (local < 18), 100.0, 0.0)
    _, flags = live(make({"seasonal": {"time_zone": zone}}, 60), values, start)
    after = flags[:, 14 * DAY : 15 * DAY]
    assert (after.mean() < 0.01) == right


def test_float32_profiles_do_not_lose_a_small_signal_on_a_huge_level():
    plain, _ = live(make("seasonal", 60), daily(9))
    raised, _ = live(make("seasonal", 60), daily(9) + 2.0**16)
    np.testing.assert_allclose(raised, plain, rtol=1e-4, atol=1e-4)


def test_one_wild_value_neither_widens_the_band_nor_moves_the_level():
    detector, other = make("seasonal", 60), make("seasonal", 60)
    values = daily(4)
    live(detector, values)
    wild = values.copy()
    wild[:, :, [200, 250]] = 1e12, -1e308
    live(other, wild, hold=False)  # as for a user who looks at one direction only
    time = MONDAY + 4 * 86_400.0
    one, two = at(detector, time, 100.0), at(other, time, 100.0)
    np.testing.assert_allclose(two.upper - two.lower, one.upper - one.lower, rtol=0.25)
    np.testing.assert_allclose(two.expected, one.expected, atol=1.5)


def test_an_entity_and_channel_takes_no_more_than_three_kilobytes():
    detector = make("seasonal", 60)
    walk(detector, batch(noise(50, 2, 70)), 60)
    assert sum(array.nbytes for array in detector.state().values()) / 100 <= 3000


def test_a_missing_channel_takes_no_part():
    detector = make("seasonal", 60)
    values = noise(3, 2, 80)
    walk(detector, batch(values), 60)
    part = values[:, :, -60:].copy()
    part[0, 1, -1] = part[1, :, -1] = np.nan
    judgement = detector.score(batch(part, until=60.0))
    assert np.isnan(judgement.score).tolist() == [False, True, False]
    assert judgement.contribution[0].tolist() == [1.0, 0.0]
    assert np.isnan(judgement.contribution[1]).all()


@pytest.mark.parametrize(("zone", "hint"), [("Europe/Berln", "did you mean 'Europe/Berlin'"), ("../etc", "IANA")])
def test_an_unknown_time_zone_is_refused(zone, hint):
    with pytest.raises(ValueError, match=f"unknown time zone '{zone}'.*{hint}"):
        make({"seasonal": {"time_zone": zone}}, 60)


def test_an_empty_state_is_that_of_a_detector_that_saw_nothing():
    detector = make("seasonal", 60)
    assert detector.state() == {}
    assert np.isnan(detector.restore({}).score(batch(noise(2, 1, 60))).score).all()
