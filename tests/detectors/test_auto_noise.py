"""The noise of `auto`: what a series is like counts, however it began."""

from datetime import UTC

import numpy as np
import pytest

from detectors.auto import noise
from detectors.seasonality import SeasonalTime
from tests.support.cycles import MONDAY, STEP


@pytest.mark.parametrize("still", [0, 40])
def test_a_series_that_stands_still_at_first_has_the_noise_of_what_follows(still):
    rows = {name: column.rows(1) for name, column in noise.columns(()).items()} | {"samples": np.zeros(1)}
    residuals = np.random.default_rng(3).normal(0.0, 3.0, 3000)
    residuals[:still] = 0.0
    for number, residual in enumerate(residuals):
        rows["samples"] += 1
        at = SeasonalTime.at(MONDAY + STEP * number, STEP, UTC)
        noise.learn(rows, np.array([residual]), np.ones(1), at, np.ones(1, np.bool_))
    assert rows["noise_mean"][0] == pytest.approx(3.0 * np.sqrt(2 / np.pi), rel=0.1)
    assert noise.heaviness(rows)[0] == pytest.approx(1.0, abs=0.15)
