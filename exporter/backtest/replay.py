"""The live cycle over samples of the past: `cycle.evaluate`, asked at one moment after the other."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import Final

import msgspec
import numpy as np

from detectors.types import Batch, Detector, Flags, Floats, Judgement, Key, State
from exporter.backtest.history import VerdictHistory
from exporter.backtest.resample import Group
from exporter.config.sections.job import JobConfig
from exporter.pipeline.cycle import evaluate, judge
from exporter.pipeline.job import LONGEST_CATCH_UP, Job
from exporter.pipeline.job_settings import ALL, JobSettings
from exporter.pipeline.policy import Policy
from exporter.pipeline.shard import Shard
from exporter.pipeline.verdict import Verdict
from exporter.source.samples import RangeResult, Source


class Columns:
    """Series as rows, grid points as columns.

    Parameters
    ----------
    names : list of bytes, length S
        Labels of the series as JSON.
    values : Floats, shape (S, N)
        NaN where there is no sample.
    first : int
        Number of the first column in steps since 1970.
    step : float
    """

    def __init__(self, names: list[bytes], values: Floats, first: int, step: float) -> None:
        self._names, self._values, self._first, self._step = names, values, first, step
        self._labels: dict[bytes, list[bytes]] = {}

    def frame(self, start: float, end: float) -> RangeResult:
        """Return the samples from `start` to `end` (Unix seconds)."""
        first = max(round(start / self._step) - self._first, 0)
        last = max(round(end / self._step) - self._first, first - 1)
        values = self._values[:, first : last + 1]
        times = self._step * np.arange(self._first + first, self._first + first + values.shape[1], dtype=np.float64)
        present = np.isfinite(values)
        counts = present.sum(axis=1)
        some = counts > 0
        labels = self._labels.setdefault(  # the same list again tells the window that the series are the same
            some.tobytes(), [name for name, is_there in zip(self._names, some.tolist(), strict=True) if is_there]
        )
        return RangeResult(labels, counts[some], np.broadcast_to(times, values.shape)[present], values[present])


Hold = bool | frozenset[str]
"""Whether samples of open incidents are kept from being learnt; a set: names of the entities of which they are not."""


class NoHold:
    """A detector that learns every sample, also those of open incidents: scores for ranking studies.

    Parameters
    ----------
    inner : Detector
    only : frozenset of str, optional
        Names of the entities that this is true of; default: all.
    """

    def __init__(self, inner: Detector, only: frozenset[str] | None = None) -> None:
        self._inner, self._only = inner, only

    @property
    def window(self) -> int:
        """Samples `score` wants to see."""
        return self._inner.window

    def fit(self, history: Batch) -> "NoHold":
        """Learn offline."""
        self._inner.fit(history)
        return self

    def prepare(self, coming: Batch) -> None:
        """Compute what does not depend on the newest samples."""
        self._inner.prepare(coming)

    def score(self, batch: Batch) -> Judgement:
        """Judge the newest sample of each entity."""
        return self._inner.score(batch)

    def update(self, fresh: Batch, frozen: Flags, rebaselined: Flags) -> None:
        """Learn `fresh` as if no incident were open."""
        held = np.zeros_like(frozen)
        if self._only is not None:
            held[...] = [dict(key).get(ENTITY) not in self._only for key in fresh.keys]
        self._inner.update(fresh, frozen & held, rebaselined & held)

    def state(self) -> State:
        """Return all that was learnt."""
        return self._inner.state()

    def restore(self, state: State) -> "NoHold":
        """Take over what `state()` returned."""
        self._inner.restore(state)
        return self


def replay_rows(job: Job, key: Key, values: Floats, clock: Floats, lead: int) -> Iterator[Verdict]:
    """Judge every row as the sample after the one before it; the first verdict is that of row number `lead`.

    A window ends at the time of its newest row. The rows before it count as evenly spaced, since detectors know no
    other windows: a long gap makes no hole in them and does not restart the entity.

    Parameters
    ----------
    job : Job
        With the step that is usual between rows.
    key : Key
        The one entity.
    values : Floats, shape (1, C, N)
    clock : Floats, shape (N,)
        Unix seconds, ascending.
    lead : int
        Rows, at least 1, that the first cycle finds: it judges the last of them, after learning the others.
    """
    keys, channels, samples = (key,), tuple(job.config.queries), job.window.samples
    empty = max(samples - lead, 0)  # columns before the first row: a first cycle asks for a whole window at least
    padded = np.pad(values, ((0, 0), (0, 0), (empty, 0)), constant_values=np.nan)

    def window(row: int, size: int) -> Batch:
        size = min(size, empty + row + 1)
        times = clock[row] - job.config.step * np.arange(size - 1, -1, -1.0)
        return Batch(keys, channels, times, padded[:, :, empty + row + 1 - size : empty + row + 1])

    job.model.ensure_fitted(job.learnable(window(lead - 1, len(clock))))
    for row in range(len(clock)):
        batch = window(row, samples)
        if row >= lead:
            job.model.ensure_fitted(job.learnable(batch))
        verdict = judge(job, batch, lambda _: nullcontext())
        if row >= lead - 1:
            yield verdict


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

    def range(self, expr: str, start: float, end: float, step: float, max_series: int | None = None) -> RangeResult:
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
    hold: Hold = True,
    progress: Progress = lambda _: None,
    keep_values: bool = False,
) -> VerdictHistory:
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
    hold : Hold
        False: samples of open incidents are learnt too.
    progress : callable
    keep_values : bool
        Keep the values too, for plots.
    """
    base = int(np.floor(group.origin / group.step))
    channels = {channel: channel for channel in group.series[0].channels}
    past = lead * group.step if lead * group.step > config.window else None
    of_files = {
        "expr": None,
        "channels": channels,
        "entity": None,
        "group": (),
        "peers": None,
        "rate": False,
        "lag": 0.0,
    }
    config = config.model_copy(update={**of_files, "step": group.step, "history": past, "max_series": None})
    job = make_job(name, config, GroupSource(group, base), hold)
    count = group.values.shape[2]
    keys = [((ENTITY, series.name),) for series in group.series]
    times = group.step * np.arange(base, base + count, dtype=np.float64) if group.clock is None else group.clock
    history = VerdictHistory(
        times, group.step, keys, Policy.of(config), keep=("numbers", "values") if keep_values else ("numbers",)
    )
    lead = min(max(lead, 1), count)
    if group.clock is not None:
        for column, verdict in enumerate(replay_rows(job, history.keys[0], group.values, group.clock, lead), lead - 1):
            history.add(verdict, column)
            progress(1 if column >= lead else lead)
        return history
    first = base + lead - 1
    for verdict in replay(job, first, base + count - 1, progress):
        history.add(verdict)
    return history


def make_job(name: str, config: JobConfig, source: Source, hold: Hold, jobs: int = 1, shard: Shard = ALL) -> Job:
    """Return a job, or a replica's part of it, as it is at a live start, one of so many, without a model store."""
    job = Job(JobSettings(name, config, shard=shard, jobs=jobs), source)
    if hold is not True:
        job.model.detector = NoHold(job.model.detector, None if hold is False else hold)
    return job


def replay(
    job: Job, first: int, last: int, progress: Progress, learning: Callable[[float], None] = lambda _: None
) -> Iterator[Verdict]:
    """Run the cycles of `job` from step number `first` to `last` since 1970. Raises SourceError.

    As in the running exporter the first cycle takes what came before as history; `learning` is then called with the
    share of it that is done. Each of the others makes up for a day, as after an outage: the verdicts are those of a
    cycle for every sample.
    """
    step, at, done = job.config.step, first, first - 1
    # A time at which a source refuses samples is a gap, the last one too.
    job.reader.newest = max(last * step, time.time())

    def told() -> bool:
        if job.warming:
            learning(job.backfill_progress(first * step))
        return True

    while done < last:
        # Half a step later, so that rounding a fraction of a second does not fall short of the sample.
        for verdict in evaluate(job, (at + 0.5) * step + job.config.lag, should_continue=told):
            yield verdict
            reached = round(verdict.time / step)
            progress(reached - done)
            done = reached
        progress(at - done)
        done, at = at, min(at + max(int(LONGEST_CATCH_UP // step), 1), last)
