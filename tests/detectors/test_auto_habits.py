"""What recurs is silent, and hides nothing else: not the other side, not an open incident, not the next outage."""

from datetime import UTC

import numpy as np
import pytest

from detectors import Flags
from detectors.auto import Auto, recurrence
from detectors.seasonality import SeasonalTime
from tests.detectors.test_auto_day import PER_DAY, batch
from tests.support.replay import replay

DAYS, EACH, HOUR = 14, 8, PER_DAY // 24
OUTAGES = (5 * PER_DAY + 3 * HOUR, 7 * PER_DAY + 20 * HOUR, 9 * PER_DAY + 11 * HOUR, 11 * PER_DAY + 6 * HOUR)
LAST = 12 * PER_DAY
DROPS, LONG, FOURTH, OUTAGE = (slice(first, first + EACH) for first in range(0, 4 * EACH, EACH))


def hours(day: int, first: int, last: int) -> slice:
    return slice(day + first * HOUR, day + last * HOUR)


@pytest.fixture(scope="module", params=[1, 2])
def flag(request: pytest.FixtureRequest) -> Flags:
    """Flags of four groups of series with a rise every night at two, and something else at last.

    DROPS has a drop at that hour, LONG a rise as large that lasts six hours at another time, FOURTH one that begins
    before the hour on the fourth night. OUTAGE has outages instead of the nightly rise.
    """
    rng, t = np.random.default_rng(request.param), np.arange(DAYS * PER_DAY)
    shape = 1 + 0.3 * np.sin(2 * np.pi * t / PER_DAY)
    values = rng.poisson(900 * shape, (4 * EACH, len(t))).astype(float)
    nightly = (t % PER_DAY >= 2 * HOUR) & (t % PER_DAY < 3 * HOUR) & (t >= PER_DAY) & (t < LAST)
    values[: OUTAGE.start, nightly] *= 1.6
    values[DROPS, hours(LAST, 2, 3)] *= 0.5
    values[LONG, hours(LAST, 14, 20)] *= 1.6
    values[FOURTH, hours(4 * PER_DAY, 0, 2)] *= 1.6
    values[FOURTH, hours(4 * PER_DAY, 3, 5)] *= 1.6
    for first in (*OUTAGES, LAST + 15 * HOUR):
        values[OUTAGE, hours(first, 0, 1)] *= 0.2
    return replay(Auto(), batch(values))[1]


def test_the_pattern_itself_is_silent(flag: Flags) -> None:
    nights = flag[: LONG.stop, 8 * PER_DAY : LAST].reshape(2 * EACH, -1, PER_DAY)[:, :, 2 * HOUR : 3 * HOUR]
    assert nights.any(axis=2).mean() < 0.1


def test_a_drop_at_the_hour_of_a_rise_is_an_incident(flag: Flags) -> None:
    assert flag[DROPS, hours(LAST, 2, 3)].any(axis=1).all()


def test_what_comes_every_night_is_an_incident_at_another_hour(flag: Flags) -> None:
    assert flag[LONG, hours(LAST, 14, 20)][:, 2:].mean() > 0.95


def test_the_hour_of_the_pattern_does_not_end_an_open_incident(flag: Flags) -> None:
    assert flag[FOURTH, hours(4 * PER_DAY, 0, 5)][:, 2:].mean() > 0.9


def test_four_outages_in_two_weeks_do_not_hide_the_fifth(flag: Flags) -> None:
    for first in (*OUTAGES, LAST + 15 * HOUR):
        assert flag[OUTAGE, first : first + 2].any(axis=1).all()


def recorded(hours: list[int]) -> dict[str, np.ndarray]:
    """Return what is remembered of openings at these hours since the first one."""
    rows = {name: column.rows(1) for name, column in recurrence.columns().items()}
    one, above = np.zeros(1, np.intp), np.ones(1, np.uint8)
    for hour in hours:
        at = SeasonalTime.at(3600.0 * hour, 300.0, UTC)
        if recurrence.apart(rows, one, above, at)[0]:
            recurrence.record_opening(rows, one, above, at)
            recurrence.record_size(rows, one, above, at.hour, np.ones(1))
    return rows


def silent(rows: dict[str, np.ndarray], day: int) -> list[bool]:
    """Return which hours of a day are silent."""
    one, above = np.zeros(1, np.intp), np.ones(1, np.uint8)
    return [
        bool(
            recurrence.is_recurring(
                rows, one, np.ones(1), above, SeasonalTime.at(3600.0 * (24 * day + hour), 300.0, UTC)
            )
        )
        for hour in range(24)
    ]


def test_an_opening_a_day_at_any_hour_is_no_pattern():
    rng, days = np.random.default_rng(4), 28
    shares = [np.mean(silent(recorded((24 * np.arange(days) + rng.integers(24, size=days)).tolist()), days))]
    shares += [
        np.mean(silent(recorded(np.sort(rng.choice(24 * days, days, replace=False)).tolist()), days)) for _ in range(20)
    ]
    assert np.mean(shares) < 0.05


def test_three_nights_are_a_pattern_beside_an_opening_elsewhere():
    rows = recorded([2, 15, 26, 50])
    assert [hour for hour, quiet in enumerate(silent(rows, 3)) if quiet] == [1, 2, 3]
