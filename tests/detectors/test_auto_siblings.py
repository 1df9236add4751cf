"""What a newcomer to a job of grown-up series is judged by before it has a past of its own."""

import numpy as np
import pytest

from detectors import Batch, Floats
from detectors.auto import Auto
from tests.support.replay import replay

STEP = 900.0
DAY = int(86_400 / STEP)
GROWN, BORN = 5, 9 * DAY + DAY // 3  # siblings; the newcomer's first sample, at eight in the morning


def fleet(seed: int, noise: float = 0.05) -> Batch:
    """Five series of one rhythm at levels of their own, and one that comes after 9 days; shape (6, 1, 10 days)."""
    rng = np.random.default_rng(seed)
    times = 1_699_833_600 + STEP * np.arange(10 * DAY)  # a Monday, midnight
    hours = times / 3600 % 24
    shape = 100 * (1 + 0.5 * np.sin((hours - 9) / 24 * 2 * np.pi))
    values = np.exp(rng.normal(0, 1, (GROWN + 1, 1))) * shape * (1 + noise * rng.normal(size=(GROWN + 1, len(times))))
    values[GROWN, :BORN] = np.nan
    return Batch(tuple((("pod", f"p{i}"),) for i in range(GROWN + 1)), ("value",), times, values[:, None])


def without_siblings(history: Batch) -> Batch:
    return Batch(history.keys[GROWN:], history.channels, history.times, history.values[GROWN:])


def newcomers(score: Floats) -> Floats:
    return np.asarray(score[-1, BORN:])


def test_a_newcomer_has_a_verdict_from_its_sixth_sample_on() -> None:
    history = fleet(seed=0)
    score, flag = replay(Auto(), history)
    assert np.flatnonzero(np.isfinite(newcomers(score)))[0] == 5
    assert not flag[-1].any()
    alone, _ = replay(Auto(), without_siblings(history))
    assert np.flatnonzero(np.isfinite(newcomers(alone)))[0] == 30


@pytest.mark.parametrize("seed", range(3))
def test_a_drop_by_80_percent_on_the_first_day_is_flagged_to_its_end_as_only_the_siblings_know_the_rhythm(
    seed: int,
) -> None:
    history = fleet(seed)
    drop = slice(BORN + DAY // 6, BORN + DAY // 3)  # four hours, from noon on
    history.values[GROWN, :, drop] *= 0.2
    _, flag = replay(Auto(), history)
    assert flag[-1, drop.start + 1 : drop.stop].all()
    _, alone = replay(Auto(), without_siblings(history))
    assert not alone[-1, drop].any()


def test_siblings_unlike_each_other_make_the_newcomers_band_wide() -> None:
    alike, unlike = fleet(seed=1), fleet(seed=1)
    rng = np.random.default_rng(2)
    for row in range(GROWN):  # every one has its noon at another hour
        unlike.values[row, 0] = np.roll(unlike.values[row, 0], rng.integers(0, DAY))
    widths = []
    for history in (alike, unlike):
        auto, end = Auto(), BORN + 12
        replay(auto, Batch(history.keys, history.channels, history.times[:end], history.values[:, :, :end]))
        tail = slice(end - 1, end + 1)
        seen = auto.score(Batch(history.keys, history.channels, history.times[tail], history.values[:, :, tail]))
        widths.append((seen.upper - seen.lower)[-1, 0])
    assert widths[1] > 2 * widths[0]


def test_without_positive_levels_there_is_no_scale_and_the_newcomer_begins_by_itself() -> None:
    history = fleet(seed=0)
    history.values[...] -= 1000.0
    score, _ = replay(Auto(), history)
    assert np.flatnonzero(np.isfinite(newcomers(score)))[0] == 30
