"""The live cycle over samples of the past: `cycle.evaluate`, asked at one moment after the other."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.types import Flags
from exporter.backtest.columns import Columns
from exporter.backtest.grid import Group
from exporter.backtest.no_hold import NoHold
from exporter.backtest.record import Record
from exporter.backtest.rows import replay_rows
from exporter.config.models import JobConfig
from exporter.cycle import evaluate
from exporter.job import Job
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
    present: Flags = np.logical_or.reduce(np.isfinite(group.values), axis=1)
    changes = base + membership_changes(present, job.window.samples)
    for verdict in replay(job, first, base + count - 1, progress, changes):
        record.add(verdict)
    return record


def make_job(name: str, config: JobConfig, source: Source, hold: bool) -> Job:
    """Return a job as it is at a live start, without a model store."""
    job = Job(name, config, "", source, SelfMetrics(), None)
    if not hold:
        job.detector = NoHold(job.detector)
    return job


def replay(
    job: Job, first: int, last: int, progress: Progress, changes: NDArray[np.int64] | None = None
) -> Iterator[Verdict]:
    """Run the cycles of `job` from step number `first` to `last` since 1970. Raises SourceError.

    As in service the first cycle takes what came before as history. With `changes` (see `membership_changes`, counted
    from 1970) a window's worth of samples is handed to a cycle at once, as after an outage: once the detector has its
    model, and while no entity comes or goes, the verdicts are the same and cost 0.1 ms a step less.
    """
    metrics = SelfMetrics()
    telemetry = Telemetry(metrics, {})
    step, at, done = job.config.step, first, 0
    while at <= last:
        # Half a step later, so that rounding a fraction of a second does not fall short of the sample.
        yield from evaluate(job, (at + 0.5) * step + job.config.lag, telemetry, metrics)
        progress(at - first + 1 - done)
        done = at - first + 1
        following = at + 1
        if changes is not None and job.fitted:
            later = changes[np.searchsorted(changes, following, side="right") :]
            following = min(at + job.window.samples, last, int(later[0]) - 1 if len(later) else last)
        at = max(following, at + 1)


def membership_changes(present: Flags, samples: int) -> NDArray[np.int64]:
    """Return the columns, ascending, in which an entity joins a window of `samples` or leaves it.

    `present`, shape (E, N), tells which entities have a sample. The column after a joining counts too, so that entities
    that join with different channels do so in the order in which they do in service.
    """
    found = [np.empty(0, np.int64)]
    for row in present:  # entities of files: tens, 20 µs each
        columns = np.flatnonzero(row)
        if len(columns):
            silent = np.flatnonzero(np.diff(columns) > samples)
            joined = np.concatenate([columns[:1], columns[silent + 1]])
            found += [joined, joined + 1, columns[silent] + samples, columns[-1:] + samples]
    return np.unique(np.concatenate(found))
