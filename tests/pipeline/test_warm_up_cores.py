"""A warm-up on several cores, which reads ahead, ends where one on one core does, to the bit."""

import numpy as np
import pytest

from exporter.backtest.replay import make_job, replay
from exporter.config.sections.job import JobConfig
from exporter.parallel.task import Call
from exporter.pipeline import cores as cores_module
from exporter.pipeline import cycle
from exporter.pipeline.cores import FEW, cores
from exporter.source.pace import Pace
from tests.support.memory_source import FIRST, Memory

SERIES, COLUMNS = 1100, 130


def warmed(threads: int, monkeypatch: pytest.MonkeyPatch):
    """Return the state of a job after its warm-up, and the threads that judging was given."""
    given = []

    def counted(series):
        given.append(series)
        return threads

    monkeypatch.setattr(cycle, "cores", counted)
    monkeypatch.setattr("exporter.source.chunks._AT_ONCE", 40 * SERIES)
    values = np.random.default_rng(4).normal(10, 1, (SERIES, COLUMNS))
    values[::9, 100:] += 30
    values[5::13, 40:80] = np.nan
    source = Memory(value=values)
    source.pace = Pace(1.0)
    config = JobConfig.model_validate({"expr": "value", "history": "2h", "window": "20m", "rate": False})
    job = make_job("job", config, source, hold=True)
    last = FIRST + COLUMNS - 1
    flagged = [verdict.flag.sum() for verdict in replay(job, last, last, lambda _: None)]
    assert flagged[0] > 50
    return job.state(), given


def test_on_several_cores_the_state_is_the_same(monkeypatch):
    alone, _ = warmed(1, monkeypatch)
    together, given = warmed(3, monkeypatch)
    assert alone.keys() == together.keys()
    for name, array in alone.items():
        assert np.array_equal(array, together[name], equal_nan=array.dtype.kind == "f"), name
    assert len(given) >= 119  # all but the newest sample, which a cycle judges
    assert max(given) == SERIES  # some pause for longer than a window, and come back


def test_few_series_and_tasks_that_are_spread_already_have_one(monkeypatch):
    monkeypatch.setattr(cores_module, "_available", lambda: 4)
    assert cores(FEW) == 1
    assert cores(FEW + 1) == 4
    assert Call(cores)(FEW + 1).value == 1
    assert cores(FEW + 1) == 4
