"""`false_alarms` is a promise: so many incidents a week and series open by chance, whatever the noise looks like."""

import numpy as np
import pytest
from scipy.signal import lfilter

from detectors import Batch, Floats, Judgement
from detectors.auto import Auto
from exporter.pipeline.incidents import IncidentTracker
from exporter.pipeline.policy import Policy
from tests.support.batches import keys
from tests.support.replay import openings

STEP, DAYS, SERIES = 600.0, 28, 150
ARRAYS = ("score", "expected", "lower", "upper", "contribution", "direction")
LINES = (0.25, 1.0, 7.0)
PER_DAY = int(86_400 / STEP)
FROM_DAY = 3
SERIES_WEEKS = SERIES * (DAYS - FROM_DAY) / 7


def clean(seed: int) -> tuple[Floats, Floats]:
    """Return times and noise of Student's t3 and t4, autocorrelated or not, on rhythms of day and week; (SERIES, T)."""
    rng = np.random.default_rng(seed)
    times = 1_699_833_600 + STEP * np.arange(DAYS * PER_DAY)
    values = np.empty((SERIES, len(times)))
    for row in range(SERIES):
        noise = lfilter([1], [1, -rng.choice([0, 0.3, 0.6, 0.9])], rng.standard_t(rng.choice([3, 4]), len(times)))
        day = rng.uniform(0, 4) * np.sin(2 * np.pi * (times / 86_400 + rng.random()))
        weekend = (times // 86_400 + 4) % 7 >= 5
        week = -2 * rng.uniform(0, 1) * weekend
        values[row] = 100 + rng.uniform(0.5, 2) * (noise / noise.std() + day * (1 - weekend / 2) + week)
    return times, values


@pytest.fixture(scope="module")
def opened_per_week() -> dict[float, float]:
    """Openings per series-week by line; the three jobs run side by side as rows of one detector."""
    times, values = clean(seed=2026)
    values = np.tile(values, (len(LINES), 1))
    names, policies = keys(len(values)), [Policy(false_alarms=line) for line in LINES]
    auto, incidents = Auto(), IncidentTracker(STEP, open_after=1, clear_after=300.0, max_hold=86_400.0)
    flag = np.zeros(values.shape, np.bool_)
    for end in range(2, values.shape[1] + 1):
        batch = Batch(names, ("value",), times[end - 2 : end], values[:, None, end - 2 : end])
        judged = auto.score(batch)
        score = np.concatenate(
            [
                policy.apply(
                    Judgement(*(getattr(judged, name)[rows] for name in ARRAYS)),
                    Batch(names[rows], batch.channels, batch.times, batch.values[rows]),
                )
                for policy, rows in zip(policies, thirds(), strict=True)
            ]
        )
        decided = incidents.decide(names, score, float(times[end - 1]), STEP)
        flag[:, end - 1] = decided.flag
        auto.update(batch.last(1), decided.flag, decided.adopted)
    begun = openings(flag)[:, FROM_DAY * PER_DAY :]
    return {line: begun[rows].sum() / SERIES_WEEKS for line, rows in zip(LINES, thirds(), strict=True)}


def thirds() -> list[slice]:
    """Return the rows of each line."""
    return [slice(k * SERIES, (k + 1) * SERIES) for k in range(len(LINES))]


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES)
def test_clean_series_open_as_many_incidents_as_the_line_says_within_a_factor_of_two(
    opened_per_week: dict[float, float], line: float
) -> None:
    assert SERIES_WEEKS > 500
    assert 0.5 * line < opened_per_week[line] < 2 * line
