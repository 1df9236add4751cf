"""What the default detector promises: few false openings, incidents held to their end, habits known, nothing lost."""

from datetime import UTC, datetime

import numpy as np
import pytest

from detectors import Batch, Floats
from detectors.auto import Auto
from detectors.seasonality import SeasonalTime
from tests.support.batches import keys, noise
from tests.support.replay import openings, replay

MONDAY = datetime(2026, 3, 2, tzinfo=UTC).timestamp()
DAY = 86_400.0


def recorded(values: Floats, step: float, start: float = MONDAY) -> Batch:
    """Wrap values of shape (E, C, T), the first sample at `start`."""
    times = start + step * np.arange(values.shape[2])
    return Batch(keys(len(values)), tuple(f"c{n}" for n in range(values.shape[1])), times, values)


def daily(count: int, samples: int, step: float, seed: int) -> Floats:
    """Return a daily rhythm from 60 to 140 with noise of wide tails, shape (count, samples)."""
    rng = np.random.default_rng(seed)
    rhythm = 100 + 40 * np.sin(2 * np.pi * step * np.arange(samples) / DAY)
    return rhythm + 3 * rng.standard_t(4, (count, samples))


class TestThreeWeeksAtFiveMinutes:
    clean, nightly, days, step = 120, 8, 21, 300.0

    @pytest.fixture(scope="class")
    @classmethod
    def opened(cls):
        per_day = int(DAY / cls.step)
        values = daily(cls.clean + cls.nightly, cls.days * per_day, cls.step, seed=5)
        weekend = (np.arange(cls.days * per_day) // per_day) % 7 >= 5
        values[:, weekend] = 100 + 0.6 * (values[:, weekend] - 100)
        rng = np.random.default_rng(6)
        for day in range(cls.days):
            for row in range(cls.clean, len(values)):
                first = day * per_day + 24 + rng.integers(-1, 2)
                values[row, first : first + 4] += 120 * rng.uniform(0.9, 1.1)
        _, flag = replay(Auto(), recorded(values[:, None], cls.step))
        return openings(flag).reshape(len(values), cls.days, per_day)

    def test_clean_series_open_about_once_a_week(self, opened):
        assert 0.5 < opened[: self.clean, 7:].sum() / self.clean / 2 < 2.0

    def test_so_do_young_ones(self, opened):
        assert opened[: self.clean, :7].sum() / self.clean < 2.0

    def test_a_nightly_batch_is_silent_after_the_fourth_night(self, opened):
        of_batch = opened[self.clean :, :, 20:32].any(axis=2)
        assert of_batch[:, 4:].mean() < 0.05  # a flag by chance in the same hour is possible


class TestIncidentsAtOneMinute:
    step, begin, end, seeds = 60.0, 3 * 1440 + 600, 3 * 1440 + 840, 4
    kinds = ("drop of 80 %", "rise x4", "zero", "lasting shift", "spike")

    @pytest.fixture(scope="class")
    @classmethod
    def flagged(cls):
        values = daily(len(cls.kinds) * cls.seeds, cls.end + 300, cls.step, seed=7)
        parts = dict(zip(cls.kinds, np.split(values, len(cls.kinds)), strict=True))
        inside = slice(cls.begin, cls.end)
        parts["drop of 80 %"][:, inside] *= 0.2
        parts["rise x4"][:, inside] *= 4
        parts["zero"][:, inside] = 0
        parts["lasting shift"][:, cls.begin :] += 200
        parts["spike"][:, cls.begin] *= 2.5
        _, flag = replay(Auto(), recorded(values[:, None], cls.step))
        return dict(zip(cls.kinds, np.split(flag, len(cls.kinds)), strict=True))

    @pytest.mark.parametrize("kind", kinds[:3])
    def test_four_hours_are_flagged_within_five_minutes_held_to_the_end_and_cleared_within_seven(self, flagged, kind):
        flag = flagged[kind]
        assert flag[:, self.begin : self.begin + 5].any(axis=1).all()
        assert flag[:, self.begin + 5 : self.end].all()
        assert not flag[:, self.end + 7 : self.end + 30].any()

    def test_a_lasting_shift_in_the_first_week_is_normal_after_six_hours(self, flagged):
        flag = flagged["lasting shift"]
        assert flag[:, self.begin + 5 : self.begin + 355].all()
        assert not flag[:, self.begin + 370 :].any()

    def test_a_single_spike_is_one_short_incident(self, flagged):
        flag = flagged["spike"]
        assert flag[:, self.begin].all()
        assert not flag[:, self.begin + 10 : self.begin + 20].any()


def joint_history(samples: int, seed: int) -> Floats:
    """Return three entities of four channels that follow a common cause, shape (3, 4, samples)."""
    rng = np.random.default_rng(seed)
    cause = np.cumsum(rng.normal(0, 0.1, (3, 1, samples)), axis=2)
    cause -= 0.9 * cause.mean(axis=2, keepdims=True)
    return 50 + 5 * cause + rng.normal(0, 0.5, (3, 4, samples))


def test_channels_that_leave_their_common_way_are_an_incident_of_the_entity():
    values = joint_history(700, seed=3)
    values[1, 1:3, 660:] += np.array([[25.0], [-25.0]])
    score, flag = replay(Auto(), recorded(values, 300.0))
    assert flag[1, 660:].all()
    assert np.nanmax(score[[0, 2], 660:]) < 1


@pytest.mark.parametrize("channels", [1, 3])
def test_a_restart_in_mid_incident_changes_nothing(channels):
    values = noise(4, channels, 500)
    values[1, :, 330:] += 40.0
    values[2, 0, 100:120] = np.nan
    history, incident = recorded(values, 60.0), np.array([False, True, False, False])
    first, nothing = Auto(), np.zeros(4, np.bool_)
    second = None
    for end in range(2, 501):
        part = Batch(history.keys, history.channels, history.times[end - 2 : end], values[:, :, end - 2 : end])
        if end == 350:
            second = Auto().restore(first.state())
            assert first.score(part).score[1] > 1
        for detector in (first, second) if second else (first,):
            judged = detector.score(part)
            detector.update(part.last(1), incident if 331 <= end < 480 else nothing, nothing)
        if second and end % 10 == 0:
            for name, array in first.state().items():
                np.testing.assert_array_equal(array, second.state()[name], err_msg=name)
    assert np.isfinite(judged.score).all()


def learnt(entities: int = 3, samples: int = 200) -> tuple[Auto, float]:
    """Return a detector that learnt noise at one-minute steps, and the time of its last sample."""
    history = recorded(noise(entities, 1, samples, seed=2), 60.0)
    detector = Auto()
    replay(detector, history)
    return detector, float(history.times[-1])


def one(detector: Auto, time: float, values: list[float], held: list[bool]):
    """Judge one sample of each entity and learn it."""
    pair = np.repeat(np.array(values)[:, None, None], 2, axis=2)
    batch = Batch(keys(len(values)), ("c0",), np.array([time - 60, time]), pair)
    judgement = detector.score(batch)
    detector.update(batch.last(1), np.array(held), np.zeros(len(values), np.bool_))
    return judgement


def test_a_missing_sample_has_no_verdict_and_leaves_the_state_as_it_is():
    detector, now = learnt()
    before = detector.state()
    judgement = one(detector, now + 60, [100.0, np.nan, 100.0], [False] * 3)
    assert np.isnan(judgement.score[1])
    assert np.isnan(judgement.expected[1]).all()
    after = detector.state()
    for name in set(before) - {"keys"}:
        np.testing.assert_array_equal(before[name][1], after[name][1], err_msg=name)
    assert (before["seen"][0] != after["seen"][0]).all()


def test_an_incident_that_lost_its_data_leaves_nothing_behind():
    detector, now = learnt()
    for minute in range(1, 20):
        one(detector, now + 60 * minute, [100.0, 170.0, 100.0], [False, True, False])
    one(detector, now + 60 * 100, [100.0, np.nan, 100.0], [False] * 3)
    state = detector.state()
    assert not state["held"][1]
    assert state["stream_incident"][1].max() == state["largest"][1] == 0
    assert state["habit_size"][1].max() == 0
    assert one(detector, now + 60 * 101, [100.0, 100.0, 100.0], [False] * 3).score[1] < 1


def test_a_series_is_warming_for_its_first_thirty_samples():
    score, _ = replay(Auto(), recorded(noise(2, 1, 40), 60.0))
    assert np.isnan(score[:, :30]).all()
    assert np.isfinite(score[:, 31:]).all()


def test_the_band_holds_what_is_normal_and_no_more():
    history = recorded(noise(40, 1, 900, seed=4), 60.0)
    detector = Auto()
    replay(detector, history)
    newest = Batch(history.keys, history.channels, history.times[-2:] + 60, history.values[:, :, -2:])
    judgement = detector.score(newest)
    np.testing.assert_allclose(judgement.expected, 100.0, atol=1.0)
    assert ((judgement.lower < judgement.expected) & (judgement.expected < judgement.upper)).all()
    beyond = newest.values.copy()
    beyond[:, :, -1] = judgement.upper + 1.0
    assert (detector.score(Batch(newest.keys, newest.channels, newest.times, beyond)).score > 1).all()
    assert (judgement.upper - judgement.lower < 60).all()


def test_an_update_without_its_score_is_refused():
    detector, now = learnt()
    batch = recorded(noise(3, 1, 2), 60.0, start=now)
    with pytest.raises(ValueError, match="follows score"):
        detector.update(batch, np.zeros(3, np.bool_), np.zeros(3, np.bool_))


def test_hours_are_counted_in_the_time_zone_asked_for():
    berlin = Auto(time_zone="Europe/Berlin")
    summer = datetime(2026, 7, 6, 22, 30, tzinfo=UTC).timestamp()  # Tuesday, half past midnight there
    tick = SeasonalTime.at(summer, 60.0, berlin._zone)
    assert (tick.hour, tick.day.before, tick.day.share) == (0, 0, 0.0)
    assert tick.week.before == 24
    with pytest.raises(ValueError, match="Europe/Berlin"):
        Auto(time_zone="Europe/Belrin")


def test_a_series_takes_less_than_six_kilobytes():
    detector, _ = learnt(entities=100)
    assert sum(array.nbytes for array in detector.state().values()) / 100 < 6000
