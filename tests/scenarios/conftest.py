"""All scenarios, judged once for all tests."""

import os
from dataclasses import dataclass

import numpy as np
import pytest

from detectors import Flags, Floats
from tests.support.cycles import judged, once
from tests.support.replay import openings
from tests.support.scenarios import SCENARIOS

SEEDS = 5
FRESH = [int(seed) for seed in os.environ.get("SCENARIO_SEED", "").split()]
"""Makes series of their own for `make quality`; without it they are the same in every run."""


@dataclass(frozen=True)
class Judged:
    """Scores and flags of the series of one scenario, one row per seed."""

    score: Floats
    flag: Flags

    @property
    def openings(self) -> Flags:
        return openings(self.flag)


@pytest.fixture(scope="session")
def two_weeks(tmp_path_factory, worker_id) -> dict[str, Judged]:
    """All scenarios by name, judged by `auto` with its default settings: entities of one job, which it keeps apart."""
    folder = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        folder = folder.parent  # that all workers share
    found = once(folder / "two_weeks.npz", _judge)
    rows = {name: slice(at * SEEDS, (at + 1) * SEEDS) for at, name in enumerate(SCENARIOS)}
    return {name: Judged(found["score"][rows[name]], found["flag"][rows[name]]) for name in SCENARIOS}


def _judge() -> dict[str, Floats]:
    series = {
        f"{name} {seed}": make(np.random.default_rng([number, seed, *FRESH]))
        for number, (name, make) in enumerate(SCENARIOS.items(), 1)
        for seed in range(SEEDS)
    }
    score, flag = judged(series, detector="auto")
    return {"score": score, "flag": flag}
