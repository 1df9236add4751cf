"""A backtest of a time range of the configured Prometheus."""

import math
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

import numpy as np

from detectors.types import Key
from exporter.backtest.entity_result import EntityResult, Run
from exporter.backtest.history import Part, VerdictHistory
from exporter.backtest.replay import make_job, replay
from exporter.backtest.settings import share
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.context.deploy_book import DeployBook
from exporter.context.own_deploys import OwnDeploys
from exporter.errors import InputError
from exporter.observe.progress import Bar
from exporter.parallel.spread import HERE, Where
from exporter.parallel.task import SpreadError
from exporter.pipeline.expectation import NO_FEEDBACK, JobFeedback
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import ALL
from exporter.pipeline.policy import Policy
from exporter.pipeline.shard import Shard
from exporter.pipeline.verdict import Verdict
from exporter.source.errors import SourceError
from exporter.source.prometheus import Prometheus

_LONGEST_NAME: Final = 150
NO_SERIES: Final = "the queries gave no series in this time range; try them in Prometheus"


@dataclass(frozen=True, slots=True)
class ReplayTask:
    """The replay of a job, or of a replica's part of it, as plain data: it is sent to other processes and machines.

    Parameters
    ----------
    config : Config
        It names secrets, it holds none.
    name, job : str, JobConfig
        The job, and its settings.
    start, end : float
        Unix seconds.
    hold, keep_values : bool
        Do not learn open incidents; keep the values too, for plots.
    feedback : JobFeedback
    shard : Shard
    """

    config: Config
    name: str
    job: JobConfig
    start: float
    end: float
    hold: bool
    keep_values: bool = False
    feedback: JobFeedback = NO_FEEDBACK
    shard: Shard = ALL


def backtest_prometheus(task: ReplayTask, where: Where = HERE) -> list[Run]:
    """Judge the samples of a job in a time range and keep all verdicts, of each part a run. Raises InputError."""
    began = time.perf_counter()
    columns_of(task.start, task.end, task.job.step)  # what is wrong with the time range is said once
    try:
        if where.is_here:
            parts = [replay_task(task, shown=True)]
        else:
            parts = where.each(replay_task, [replace(task, shard=shard) for shard in where.parts], "judging")
    except (SpreadError, SourceError) as error:
        raise InputError(f"job {task.name}: {error}") from None
    parts = [history for history in parts if history.keys]
    if not parts:
        raise InputError(f"job {task.name}: {NO_SERIES}")
    speed = sum(int(history.present.sum()) for history in parts) / (time.perf_counter() - began)
    stamps = [
        datetime.fromtimestamp(second, UTC).isoformat().replace("+00:00", "Z") for second in parts[0].times.tolist()
    ]
    files = iter(file_names(tuple(key for history in parts for key in history.keys)))
    runs = []
    for history in parts:
        results = []
        for row in range(len(history.keys)):
            columns = np.flatnonzero(history.present[row])
            of_row = [stamps[column] for column in columns.tolist()]
            results.append(
                EntityResult(history, row, columns, next(files), of_row, history.times[columns], None, speed)
            )
        runs.append(Run(share(task.job, 1, where.shards), history, results, 0))
    return runs


def replay_task(task: ReplayTask, shown: bool = False) -> VerdictHistory:
    """Return the verdicts of a task; a bar is `shown` or not. Raises InputError, SourceError."""
    first, last = columns_of(task.start, task.end, task.job.step)
    times = task.job.step * np.arange(first, last + 1.0)
    keep: Sequence[Part] = ("numbers", "values") if task.keep_values else ("numbers",)
    history = VerdictHistory(times, task.job.step, policy=Policy.of(task.job), keep=keep)
    with Bar(last - first + 1, shown=shown) as bar:
        for _, verdict in judged(task, bar):
            history.add(verdict)
    return history


def columns_of(start: float, end: float, step: float) -> tuple[int, int]:
    """Return the numbers of the first and last sample from `start` to `end`, in steps since 1970. Raises InputError."""
    first, last = math.ceil(start / step), math.floor(end / step)
    if last < first:
        raise InputError("the time range holds no sample: --from must be earlier than --to by a step at least")
    return first, last


def judged(task: ReplayTask, bar: Bar, doing: str = "") -> Iterator[tuple[Job, Verdict]]:
    """Yield the verdicts of a task, each with the job as it is after it.

    Samples are read piece by piece. The first cycle, at the start, reads the history before it as a starting exporter
    does. `bar` shows the samples judged, and what is being done for the job `doing`. The job heeds feedback and deploys
    as the running exporter did. Raises InputError, SourceError.
    """
    name, config = task.name, task.config
    first, last = columns_of(task.start, task.end, task.job.step)
    doing = doing or name

    def learning(part: float) -> None:
        bar.describe(f"learning {doing}: {part:.0%} of its history" if part < 1 else f"judging {doing}")

    with closing(Prometheus(config.prometheus, config.limits)) as source:
        job = make_job(name, task.job, source, task.hold, len(config.jobs), task.shard)
        job.heed(task.feedback)
        job.deploys = OwnDeploys(DeployBook(source), waits=True)
        for verdict in replay(job, first, last, partial(bar.add, 1), learning):
            yield job, verdict


def file_names(keys: tuple[Key, ...]) -> list[str]:
    """Return a different file name for each entity, made of its labels' values."""
    names: list[str] = []
    taken: set[str] = set()
    for key in keys:
        text = "_".join(value for _, value in key) or "all"
        base = re.sub(r"[^A-Za-z0-9.-]+", "_", text).lstrip(".")[:_LONGEST_NAME] or "all"
        name, number = base, 1
        while name.lower() in taken:  # some file systems do not tell case apart
            number += 1
            name = f"{base}_{number}"
        taken.add(name.lower())
        names.append(name)
    return names
