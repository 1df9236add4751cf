"""The real cycle run over series in memory: only the network is replaced."""

import fcntl
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from detectors import Flags, Floats
from exporter.backtest.history import VerdictHistory
from exporter.backtest.replay import Columns, replay
from exporter.config.sections.job import JobConfig
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import JobSettings
from exporter.pipeline.verdict import Verdict
from exporter.source.samples import RangeResult

STEP = 60.0
HOUR, DAY = 60, 1440
"""In samples of a minute."""
SMALL = {"river": {"river": {"parameters": {"n_trees": 5, "height": 6, "window_size": 50}, "warm_up": 50}}}
"""Where the defaults of a detector would take the tests too long."""
MONDAY = datetime(2026, 3, 2, tzinfo=UTC).timestamp()


class Recorded:
    """Answers the queries of a job, which are names of channels, as a Prometheus would that holds the series.

    `values`, shape (E, C, N), NaN where there is no sample, the first at `start` (Unix seconds).
    """

    def __init__(self, names: Iterable[str], values: Floats, start: float, step: float = STEP) -> None:
        labels = [json.dumps({"instance": name}).encode() for name in names]
        channels = enumerate(values.transpose(1, 0, 2))
        self._columns = {f"c{at}": Columns(labels, each, round(start / step), step) for at, each in channels}

    def range(self, expr: str, start: float, end: float, step: float, max_series: int | None = None) -> RangeResult:
        if expr.startswith("count("):  # nobody knows what there was before
            return Columns([], np.empty((0, 0)), 0, step).frame(start, end)
        return self._columns[expr].frame(start, end)

    def metric_types(self, names: Iterable[str]) -> dict[str, str]:
        return {}


def cycles(
    series: dict[str, Floats], start: float = MONDAY, lead: int = 1, step: float = STEP, **settings
) -> Iterator[Verdict]:
    """Run the cycles of a job with these settings over `series`, each of shape (N,) or (C, N), to the last sample.

    The first cycle finds `lead` samples, as at a start with history; it yields one verdict.
    """
    job, samples = recorded_job(series, start, lead, step, **settings)
    first = round(start / step)
    yield from replay(job, first + lead - 1, first + samples - 1, lambda _: None)


def recorded_job(
    series: dict[str, Floats], start: float, lead: int, step: float, **settings: object
) -> tuple[Job, int]:
    """Return a job whose source holds `series`, each of shape (N,) or (C, N), and N."""
    values = np.stack([np.atleast_2d(each) for each in series.values()])
    channels = {f"c{at}": f"c{at}" for at in range(values.shape[1])}
    history = {"history": lead * step} if lead > HOUR else {}
    config = JobConfig.model_validate({"channels": channels, "step": step} | history | settings)
    return Job(JobSettings("job", config), Recorded(series, values, start, step)), values.shape[2]


def judged(
    series: dict[str, Floats], start: float = MONDAY, lead: int = 1, step: float = STEP, **settings
) -> tuple[Floats, Flags]:
    """Return the scores and flags of `cycles`, shape (E, N) in the order of `series`."""
    keys = [(("instance", name),) for name in series]
    columns = next(iter(series.values())).shape[-1]
    record = VerdictHistory(start + step * np.arange(columns, dtype=np.float64), step, keys)
    for verdict in cycles(series, start, lead, step, **settings):
        record.add(verdict)
    return record.score, record.flag


def once(path: Path, make: Callable[[], dict[str, Floats]]) -> dict[str, Floats]:
    """Return what `make` made for the first process that asked; the others wait for it, and read it from `path`."""
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            np.savez(path, **make())
    with np.load(path) as arrays:
        return dict(arrays)
