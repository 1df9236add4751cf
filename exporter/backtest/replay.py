"""The live cycle over samples of the past: `cycle.evaluate`, asked at one moment after the other."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec
import numpy as np

from exporter.backtest.columns import Columns
from exporter.backtest.grid import Group
from exporter.backtest.no_hold import NoHold
from exporter.backtest.record import Record
from exporter.backtest.rows import replay_rows
from exporter.config.models import JobConfig
from exporter.cycle import evaluate
from exporter.job import LONGEST_CATCH_UP, Job
from exporter.metrics import SelfMetrics
from exporter.source.frame import Frame, Source
from exporter.telemetry import Telemetry
from exporter.verdict import Verdict

Progress = Callable[[int], None]
"""Called with the number of grid points just replayed."""
ENTITY: Final = "entity"
"""Label of an entity read from a file: the file's name."""


class GroupSource:
    """Answers the queries of a job, which are channel names, from the values of a group of files."""

    def __init__(self, group: Group, base: int) -> None:
        names = [msgspec.json.encode({ENTITY: series.name}) for series in group.series]
        channels = enumerate(group.series[0].channels)
        self._columns = {name: Columns(names, group.values[:, at], base, group.step) for at, name in channels}

    def range(self, expr: str, start: float, end: float, step: float, max_series: int | None = None) -> Frame:
        """Return the samples of one channel from `start` to `end` (Unix seconds)."""
        del step, max_series  # the job's step is the group's, and files are not limited
        return self._columns[expr].frame(start, end)

    def metric_types(self, names: Iterable[str]) -> dict[str, str]:
        """Know nothing: files have no metadata."""
        del names
        return {}


def replay_group(
    name: str,
    config: JobConfig,
    group: Group,
    lead: int,
    hold: bool = True,
    progress: Progress = lambda _: None,
    keep_values: bool = False,
) -> Record:
    """Judge a group of files as the live exporter would have, started at its grid point number `lead`.

    Parameters
    ----------
    name : str
        Name of the job.
    config : JobConfig
        Settings; queries and what belongs to a source are replaced.
    group : Group
    lead : int
        Grid points the first cycle finds, at least 1: it judges the newest of them, after learning the others.
    hold : bool
        False: samples of open incidents are learnt too.
    progress : callable
    keep_values : bool
        Whether the record keeps the values.
    """
    base = int(np.floor(group.origin / group.step))
    channels = {channel: channel for channel in group.series[0].channels}
    history = lead * group.step if lead * group.step > config.window else None
    of_files = {"expr": None, "channels": channels, "entity": None, "group": (), "rate": False, "lag": 0.0}
    config = config.model_copy(update={**of_files, "step": group.step, "history": history, "max_series": None})
    job = make_job(name, config, GroupSource(group, base), hold)
    count = group.values.shape[2]
    keys = [((ENTITY, series.name),) for series in group.series]
    record = Record(base * group.step, group.step, count, keys, config.direction, keep_values)
    lead = min(max(lead, 1), count)
    if group.clock is not None:
        for column, verdict in enumerate(replay_rows(job, record.keys[0], group.values, group.clock, lead), lead - 1):
            record.add(verdict, column)
            progress(1 if column >= lead else lead)
        return record
    first = base + lead - 1
    for verdict in replay(job, first, base + count - 1, progress):
        record.add(verdict)
    return record


def make_job(name: str, config: JobConfig, source: Source, hold: bool) -> Job:
    """Return a job as it is at a live start, without a model store."""
    job = Job(name, config, "", source, SelfMetrics(), None)
    if not hold:
        job.detector = NoHold(job.detector)
    return job


def replay(job: Job, first: int, last: int, progress: Progress) -> Iterator[Verdict]:
    """Run the cycles of `job` from step number `first` to `last` since 1970. Raises SourceError.

    As in service the first cycle takes what came before as history. Each of the others makes up for a day, as after an
    outage: the verdicts are those of a cycle for every sample.
    """
    metrics = SelfMetrics()
    telemetry = Telemetry(metrics, {})
    step, at, done = job.config.step, first, first - 1
    while done < last:
        # Half a step later, so that rounding a fraction of a second does not fall short of the sample.
        for verdict in evaluate(job, (at + 0.5) * step + job.config.lag, telemetry, metrics):
            yield verdict
            reached = round(verdict.time / step)
            progress(reached - done)
            done = reached
        progress(at - done)
        done, at = at, min(at + max(int(LONGEST_CATCH_UP // step), 1), last)
