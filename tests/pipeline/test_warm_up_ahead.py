"""A warm-up that reads ahead, in long blocks and with pauses, ends where one does that waits for every answer."""

from contextlib import nullcontext

import numpy as np
import pytest

from exporter.backtest.replay import make_job, replay
from exporter.config.sections.job import JobConfig
from exporter.pipeline import cycle
from exporter.source import chunks
from exporter.source.pace import Pace
from tests.support.memory_source import FIRST, Memory

SERIES, COLUMNS = 1100, 130


def warmed(monkeypatch: pytest.MonkeyPatch, ahead: bool, detector: str) -> tuple[dict[str, np.ndarray], int]:
    """Return the state of a job after its warm-up, and how often the source was asked."""
    monkeypatch.setattr(chunks, "PAST", 100 if ahead else 10**9)
    monkeypatch.setattr(cycle, "long_blocks", chosen if ahead else lambda _: nullcontext())
    monkeypatch.setattr(chunks, "_AT_ONCE", 40 * SERIES)
    values = np.random.default_rng(4).normal(10, 1, (SERIES, COLUMNS))
    values[::9, 100:] += 30
    values[5::13, 40:80] = np.nan  # for longer than a window: these leave and come back
    source = Memory(value=values)
    source.pace = Pace(0.9)
    config = JobConfig.model_validate(
        {"expr": "value", "history": "2h", "window": "20m", "rate": False, "detector": detector}
    )
    job = make_job("job", config, source, hold=True)
    last = FIRST + COLUMNS - 1
    flagged = [verdict.flag.sum() for verdict in replay(job, last, last, lambda _: None)]
    assert flagged[0] > 50
    return job.state(), source.asked


chosen = cycle.long_blocks


@pytest.mark.parametrize("detector", ["auto", "robust"])
def test_the_state_is_the_same(monkeypatch, detector):
    plain, asked = warmed(monkeypatch, False, detector)
    ahead, asked_ahead = warmed(monkeypatch, True, detector)
    assert plain.keys() == ahead.keys()
    for name, array in plain.items():
        assert np.array_equal(array, ahead[name], equal_nan=array.dtype.kind == "f"), name
    assert asked_ahead == asked < 8  # in chunks, each of them once: these detectors fit nothing
