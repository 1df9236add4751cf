"""The replay of a job that is tried: first at a coarse step, then as the running job would judge."""

import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import numpy as np

from exporter.backtest.replay import make_job, replay
from exporter.config.sections.job import JobConfig
from exporter.config.sections.source import LimitsConfig, PrometheusConfig
from exporter.context.deploy_book import DeployBook
from exporter.context.own_deploys import OwnDeploys
from exporter.preview.outcome import Outcome
from exporter.preview.tape import Tape, record
from exporter.promql import format_duration
from exporter.source.prometheus import Prometheus
from exporter.source.samples import Source

MOST_SERIES: Final = 100
MOST_SAMPLES: Final = 2_500_000
"""Samples of all series in a replay: 100 series over 15 days of minutes, 200 MiB of memory."""
LOOK: Final = 500
"""Times that a first look judges: about a second and a half for 100 series."""
_COARSE: Final = 3600.0
_SHORTEST: Final = 60
"""Times that are worth a replay."""


class CannotReplay(Exception):
    """There is nothing to replay, or too much. The message says what to do."""


def reach(source: Source, job: JobConfig, start: float, end: float) -> tuple[float, int]:
    """Return from when on there is data, and how many series there are at most. Raises CannotReplay, SourceError.

    That is one cheap query for each channel: how many series there were every hour.
    """
    step = max(_COARSE, job.step)
    end = math.floor(end / job.step) * job.step
    looks = int((end - start) // step) + 1
    first = end - (looks - 1) * step
    oldest, most = math.inf, 0
    for expr in job.queries.values():
        answer = source.range(f"count(\n{expr}\n)", first, end, step)
        counts = answer.values[np.isfinite(answer.values)]
        if len(counts):
            oldest, most = min(oldest, float(answer.times.min())), max(most, int(counts.max()))
    if not most:
        raise CannotReplay(
            f"The expression gave no series in the last {format_duration(looks * step)}. Try it in Prometheus: is the "
            "metric scraped, are its name and labels right? A comparison such as `> 5` leaves out what is normal."
        )
    if most > MOST_SERIES:
        raise CannotReplay(
            f"The expression has up to {most:,} series; the workbench replays {MOST_SERIES} at most. Choose some with "
            "labels, or put them together: sum by (…), max by (…)."
        )
    samples = most * len(job.queries) * (end - max(oldest, start)) / job.step
    if samples > MOST_SAMPLES:
        raise CannotReplay(
            f"That is {samples / 1e6:.1f} million samples; the workbench replays {MOST_SAMPLES / 1e6:g} million at "
            "most. Choose fewer series, a longer step or a shorter range."
        )
    return max(oldest - step, start), most


def coarse_step(job: JobConfig, seconds: float) -> float:
    """Return the step of a first look at so many seconds: a multiple of the job's own."""
    return job.step * max(math.ceil(seconds / job.step / LOOK), 1)


def at_step(job: JobConfig, step: float) -> JobConfig:
    """Return a job with a longer step, and a window and times that agree with it."""
    longer = step / job.step
    return job.model_copy(
        update={"step": step, "window": job.window * longer, "clear_after": max(job.clear_after, step)}
    )


def replayed(
    source: Source,
    name: str,
    job: JobConfig,
    start: float,
    end: float,
    learn: float,
    between: Callable[[float], None],
    rough: str = "",
) -> Outcome:
    """Replay a job from `start` to `end` (Unix seconds) by the code of `backtest`, after learning from before.

    Parameters
    ----------
    learn : float
        Seconds before `start` that are its history.
    between : callable
        Called between two samples with the share that is done.
    rough : str
        As for `Outcome`.

    Raises
    ------
    SourceError, CannotReplay
    """
    return Outcome(name, *recorded(source, name, job, start, end, learn, between), rough)


@dataclass(frozen=True, slots=True)
class TapeTask:
    """An exact replay as plain data: it is sent to another machine. The parameters are those of `replayed`."""

    prometheus: PrometheusConfig
    limits: LimitsConfig
    name: str
    job: JobConfig
    start: float
    end: float
    learn: float


def tape_task(task: TapeTask) -> tuple[JobConfig, Tape, int]:
    """Return what `recorded` does. Raises SourceError, CannotReplay."""
    with closing(Prometheus(task.prometheus, task.limits)) as source:
        return recorded(source, task.name, task.job, task.start, task.end, task.learn, lambda _: None)


def recorded(
    source: Source,
    name: str,
    job: JobConfig,
    start: float,
    end: float,
    learn: float,
    between: Callable[[float], None],
) -> tuple[JobConfig, Tape, int]:
    """Return the settings of a replay, its tape, and the column from which on verdicts are shown; as `replayed`."""
    job = job.model_copy(update={"history": max(learn, job.window)})
    first, last = math.ceil(start / job.step), math.floor(end / job.step)
    if last - first < _SHORTEST:
        raise CannotReplay(f"The range holds fewer than {_SHORTEST} samples. Choose a longer range or a shorter step.")
    columns = last - first + 1 + math.ceil(learn / job.step)
    replaying = make_job(name, job, source, hold=True)
    replaying.deploys = OwnDeploys(DeployBook(source), waits=True)
    tape = record(replaying, columns + 2)
    shown: list[int] = []
    for verdict in replay(
        replaying, first, last, lambda _: between(tape.count / columns), lambda _: between(tape.count / columns)
    ):
        shown.append(tape.count - 1)
        tape.alerted(verdict)
    if not shown or not np.isfinite(tape["score"]).any():
        raise CannotReplay(
            "There was too little to judge: the detector gave no score at all. Choose a longer range or a shorter step."
        )
    return job, tape, shown[0]
