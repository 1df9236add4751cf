"""A backtest of CSV files."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from exporter.backtest.entity_result import EntityResult, Run
from exporter.backtest.history import VerdictHistory
from exporter.backtest.quality import leading
from exporter.backtest.read_csv import read_folder
from exporter.backtest.replay import ENTITY, Hold, Progress, replay_group
from exporter.backtest.resample import Group, group
from exporter.backtest.settings import Settings, share
from exporter.config.sections.job import JobConfig
from exporter.config.values import duration
from exporter.errors import InputError
from exporter.observe.progress import Bar
from exporter.parallel.spread import HERE, Where
from exporter.parallel.task import SpreadError
from exporter.pipeline.shard import Shard

UNCOUNTED: Final = "labels"
"""Value of --history: the rows that the figures leave out."""


def backtest_files(
    path: Path, settings: Settings, history: str | None, hold: bool, keep_values: bool = False, where: Where = HERE
) -> list[Run]:
    """Judge every file at `path`. Raises InputError, ConfigError.

    Parameters
    ----------
    path : Path
        File or folder.
    settings : Settings
    history : str or None
        What the exporter finds when it starts: a duration, or `labels` for the rows that the figures leave out.
        None: what the job says, or else nothing but the first row.
    hold, keep_values : bool
    where : Where
        Groups of files run there; each may be in parts.
    """
    return backtest_groups(group(read_folder(path), settings.step), settings, history, hold, keep_values, where)


@dataclass(frozen=True, slots=True, eq=False)
class GroupTask:
    """The replay of a group of files as plain data: it is sent to other processes and machines."""

    name: str
    job: JobConfig
    group: Group
    lead: int
    hold: Hold
    keep_values: bool


def group_task(task: GroupTask, progress: Progress = lambda _: None) -> tuple[VerdictHistory, float]:
    """Return the verdicts of a group, and the samples of an entity evaluated per second."""
    began, (width, _, columns) = time.perf_counter(), task.group.values.shape
    verdicts = replay_group(task.name, task.job, task.group, task.lead, task.hold, progress, task.keep_values)
    return verdicts, width * columns / (time.perf_counter() - began)


def backtest_groups(
    groups: Sequence[Group],
    settings: Settings,
    history: str | None,
    hold: Hold,
    keep_values: bool = False,
    where: Where = HERE,
) -> list[Run]:
    """Judge files that are read and grouped already, as `backtest_files` does. Raises InputError, ConfigError."""
    entities = sum(len(each.series) for each in groups)
    groups = [part for each in groups for part in _parts(each, where.parts)]
    tasks = []
    for each in groups:
        job = share(settings.job(each.step), len(each.series), entities)
        tasks.append(GroupTask(settings.name, job, each, _lead(each, history, job.history), hold, keep_values))
    if where.is_here:
        with Bar(sum(each.values.shape[0] * each.values.shape[2] for each in groups)) as bar:
            found = [group_task(task, partial(bar.add, len(task.group.series))) for task in tasks]
    else:
        try:
            found = where.each(group_task, tasks, "judging")
        except SpreadError as error:
            raise InputError(str(error)) from None
    runs: list[Run] = []
    for task, (verdicts, speed) in zip(tasks, found, strict=True):
        each, columns = task.group, task.group.values.shape[2]
        results = [
            EntityResult(verdicts, row, slots, series.name, series.stamps, series.times, series.label, speed)
            for row, (series, slots) in enumerate(zip(each.series, each.slots, strict=True))
        ]
        runs.append(Run(task.job, verdicts, results, min(task.lead, columns) - 1))
    return runs


def _parts(whole: Group, shards: Sequence[Shard]) -> list[Group]:
    """Return the parts of a group of files, as so many replicas would have them."""
    parts = []
    for shard in shards:
        rows = [row for row, series in enumerate(whole.series) if shard.owns(((ENTITY, series.name),))]
        if len(rows) == len(whole.series):
            return [whole]
        if rows:
            series, slots = [whole.series[row] for row in rows], [whole.slots[row] for row in rows]
            parts.append(replace(whole, series=series, slots=slots, values=whole.values[rows]))
    return parts


def _lead(each: Group, history: str | None, configured: float | str | None) -> int:
    """Return how many columns of a group the first cycle finds."""
    if history is None and (configured is None or configured == "auto"):  # a file is judged from its beginning
        return 1
    if history == UNCOUNTED:
        ends = [
            int(slots[max(leading(series.label), 1) - 1]) + 1
            for series, slots in zip(each.series, each.slots, strict=True)
            if series.label is not None
        ]
        return max(min(ends, default=1), 1)
    try:
        known = configured if isinstance(configured, float) else None  # a file has nothing before its beginning
        seconds = known if history is None else duration(history)
    except ValueError as error:
        raise InputError(f"--history: {error}, or {UNCOUNTED}") from None
    if each.clock is not None:
        return max(int(np.searchsorted(each.clock, each.origin + (seconds or 0.0))), 1)
    return max(round((seconds or 0.0) / each.step), 1)
