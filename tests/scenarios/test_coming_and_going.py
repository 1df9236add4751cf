"""Series that vanish, that replace each other, and that are new among old ones."""

import numpy as np
import pytest

from tests.support.cycles import DAY, HOUR, cycles, judged
from tests.support.every_detector import every_detector, judged_by
from tests.support.replay import openings
from tests.support.scenarios import usual


def siblings(rng, count, samples):
    """Return series of one shape, each with its own level and noise."""
    shape = usual(rng, samples, noise=0.0)
    return {
        f"pod{number}": rng.uniform(0.7, 1.4) * shape * (1 + 0.03 * rng.standard_t(4, samples))
        for number in range(count)
    }


def row_of(verdict, name):
    """Return the row of an entity, None where it is not there."""
    return {dict(key)["instance"]: row for row, key in enumerate(verdict.keys)}.get(name)


@pytest.mark.parametrize("detector", every_detector())
def test_a_vanished_series_is_stale_within_two_cycles_and_never_flagged(detector):  # row 12
    series = siblings(np.random.default_rng(1), 5, 4 * HOUR)
    gone = 2 * HOUR + 30
    series["pod1"][gone:] = np.nan
    verdicts = list(cycles(series, **judged_by(detector)))[gone:]
    assert [v.states["stale"] for v in verdicts[1:59]] == [1] * 58
    for verdict in verdicts:
        row = row_of(verdict, "pod1")
        assert row is None or (np.isnan(verdict.score[row]) and not verdict.flag[row])
    assert row_of(verdicts[-1], "pod1") is None
    assert verdicts[-1].states["stale"] == 0


def test_a_rolling_rollout_flags_nothing():
    """Twelve pods, a day and a half old, are replaced within an hour by twelve of other names."""
    rng = np.random.default_rng(2)
    begin, samples = 36 * HOUR, 40 * HOUR
    series = siblings(rng, 24, samples)
    for number in range(12):
        replaced = begin + 5 * number
        series[f"pod{number}"][replaced:] = np.nan
        series[f"pod{12 + number}"][: replaced - 2] = np.nan  # a new pod is ready before the old one goes
    score, flag = judged(series, detector="auto")
    assert not flag[:, begin:].any()
    for number in range(12):
        assert np.isfinite(score[12 + number, begin + 5 * number + 30 :]).all()


@pytest.mark.slow
class TestAYoungSeriesAmongSiblingsOfTwoWeeks:
    old, young = 12, 6
    birth, drop = 14 * DAY, 14 * DAY + 9 * HOUR

    @pytest.fixture(scope="class")
    @classmethod
    def judged(cls):
        series = siblings(np.random.default_rng(3), cls.old + cls.young, cls.birth + 12 * HOUR)
        for number in range(cls.young):
            values = series[f"pod{cls.old + number}"]
            values[: cls.birth + 10 * number] = np.nan
            values[cls.drop + 10 * number : cls.drop + 10 * number + HOUR] *= 0.2
        score, flag = judged(series, detector="auto")
        return score[cls.old :], flag[cls.old :]

    def test_has_a_verdict_from_its_first_half_hour_on(self, judged):
        for number, score in enumerate(judged[0]):
            assert np.isfinite(score[self.birth + 10 * number + 31 :]).all()

    def test_is_not_flagged_for_being_new(self, judged):
        before = openings(judged[1][:, : self.drop])
        assert before.sum() <= 2  # six series of nine hours: by chance

    def test_is_flagged_when_it_drops_by_80_percent_on_its_first_day(self, judged):
        for number, flag in enumerate(judged[1]):
            begin = self.drop + 10 * number
            assert flag[begin : begin + 30].any()  # most at once; the siblings' own noise had been as wide as that
            assert flag[begin + 30 : begin + HOUR].all()
            assert not flag[begin + HOUR + 10 : begin + 2 * HOUR].any()
