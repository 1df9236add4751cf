"""A backtest of a time range of the configured Prometheus."""

import math
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import Final

import numpy as np

from detectors.types import Key
from exporter.backtest.entity_result import EntityResult, Run
from exporter.backtest.history import Part, VerdictHistory
from exporter.backtest.replay import make_job, replay
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.context.deploy_book import DeployBook
from exporter.context.own_deploys import OwnDeploys
from exporter.errors import InputError
from exporter.observe.progress import Bar
from exporter.pipeline.expectation import NO_FEEDBACK, JobFeedback
from exporter.pipeline.job import Job
from exporter.pipeline.policy import Policy
from exporter.pipeline.verdict import Verdict
from exporter.source.errors import SourceError
from exporter.source.prometheus import Prometheus

_LONGEST_NAME: Final = 150
NO_SERIES: Final = "the queries gave no series in this time range; try them in Prometheus"


def backtest_prometheus(
    config: Config,
    name: str,
    job_config: JobConfig,
    start: float,
    end: float,
    hold: bool,
    keep_values: bool = False,
    feedback: JobFeedback = NO_FEEDBACK,
) -> Run:
    """Judge the samples of a job from `start` to `end` (Unix seconds) and keep all verdicts. Raises InputError."""
    first, last = columns_of(start, end, job_config.step)
    times = job_config.step * np.arange(first, last + 1.0)
    keep: Sequence[Part] = ("numbers", "values") if keep_values else ("numbers",)
    history = VerdictHistory(times, job_config.step, policy=Policy.of(job_config), keep=keep)
    began = time.perf_counter()
    try:
        with Bar(last - first + 1) as bar:
            for _, verdict in judged(config, name, job_config, start, end, hold, bar, feedback=feedback):
                history.add(verdict)
    except SourceError as error:
        raise InputError(f"job {name}: {error}") from None
    if not history.keys:
        raise InputError(f"job {name}: {NO_SERIES}")
    speed = int(history.present.sum()) / (time.perf_counter() - began)
    stamps = [datetime.fromtimestamp(second, UTC).isoformat().replace("+00:00", "Z") for second in times.tolist()]
    results = []
    for row, file in enumerate(file_names(history.keys)):
        columns = np.flatnonzero(history.present[row])
        of_row = [stamps[column] for column in columns.tolist()]
        results.append(EntityResult(history, row, columns, file, of_row, times[columns], None, speed))
    return Run(job_config, history, results, 0)


def columns_of(start: float, end: float, step: float) -> tuple[int, int]:
    """Return the numbers of the first and last sample from `start` to `end`, in steps since 1970. Raises InputError."""
    first, last = math.ceil(start / step), math.floor(end / step)
    if last < first:
        raise InputError("the time range holds no sample: --from must be earlier than --to by a step at least")
    return first, last


def judged(
    config: Config,
    name: str,
    job_config: JobConfig,
    start: float,
    end: float,
    hold: bool,
    bar: Bar,
    doing: str = "",
    feedback: JobFeedback = NO_FEEDBACK,
) -> Iterator[tuple[Job, Verdict]]:
    """Yield the verdicts of a job from `start` to `end` (Unix seconds), each with the job as it is after it.

    Samples are read piece by piece. The first cycle, at `start`, reads the history before it as a starting exporter
    does. `bar` shows the samples judged, and what is being done for the job `doing`. The job heeds the `feedback` and
    deploys as the running exporter did. Raises InputError, SourceError.
    """
    first, last = columns_of(start, end, job_config.step)
    doing = doing or name

    def learning(share: float) -> None:
        bar.describe(f"learning {doing}: {share:.0%} of its history" if share < 1 else f"judging {doing}")

    with closing(Prometheus(config.prometheus, config.limits)) as source:
        job = make_job(name, job_config, source, hold, len(config.jobs))
        job.heed(feedback)
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
