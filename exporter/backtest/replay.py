"""The live cycle over samples of the past: `cycle.evaluate`, asked at one moment after the other."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec
import numpy as np

from detectors.types import Batch, Detector, Flags, Judgement, State
from exporter.backtest.grid import Group
from exporter.backtest.record import Record
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


class NoHold:
    """A detector that learns every sample, also those of open incidents: scores for ranking studies."""

    def __init__(self, inner: Detector) -> None:
        self._inner = inner

    @property
    def window(self) -> int:
        """Samples `score` wants to see."""
        return self._inner.window

    def fit(self, history: Batch) -> "NoHold":
        """Learn offline."""
        self._inner.fit(history)
        return self

    def score(self, batch: Batch) -> Judgement:
        """Judge the newest sample of each entity."""
        return self._inner.score(batch)

    def update(self, fresh: Batch, held: Flags, adopted: Flags) -> None:
        """Learn `fresh` as if no incident were open."""
        self._inner.update(fresh, np.zeros_like(held), np.zeros_like(adopted))

    def state(self) -> State:
        """Return all that was learnt."""
        return self._inner.state()

    def restore(self, state: State) -> "NoHold":
        """Take over what `state()` returned."""
        self._inner.restore(state)
        return self


class GroupSource:
    """Answers the queries of a job, which are channel names, from the values of a group of files."""

    def __init__(self, group: Group, base: int) -> None:
        self._values, self._step, self._base = group.values, group.step, base
        self._channel = {name: at for at, name in enumerate(group.series[0].channels)}
        self._names = [msgspec.json.encode({ENTITY: series.name}) for series in group.series]
        self._labels: dict[bytes, list[bytes]] = {}

    def range(self, expr: str, start: float, end: float, step: float, max_series: int | None = None) -> Frame:
        """Return the samples of one channel from `start` to `end` (Unix seconds)."""
        del step, max_series  # the job's step is the group's, and files are not limited
        first = max(round(start / self._step) - self._base, 0)
        last = max(round(end / self._step) - self._base, first - 1)
        values = self._values[:, self._channel[expr], first : last + 1]
        times = self._step * np.arange(self._base + first, self._base + first + values.shape[1], dtype=np.float64)
        present = np.isfinite(values)
        counts = present.sum(axis=1)
        some = counts > 0
        labels = self._labels.setdefault(  # the same list again tells the window that the series are the same
            some.tobytes(), [name for name, is_there in zip(self._names, some.tolist(), strict=True) if is_there]
        )
        return Frame(labels, counts[some], np.broadcast_to(times, values.shape)[present], values[present])

    def metric_types(self, names: Iterable[str]) -> dict[str, str]:
        """Know nothing: files have no metadata."""
        del names
        return {}


def replay_group(
    name: str, config: JobConfig, group: Group, lead: int, hold: bool = True, progress: Progress = lambda _: None
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
    """
    base = int(np.floor(group.origin / group.step))
    channels = {channel: channel for channel in group.series[0].channels}
    history = lead * group.step if lead * group.step > config.window else None
    of_files = {"expr": None, "channels": channels, "entity": None, "group": (), "rate": False, "lag": 0.0}
    config = config.model_copy(update={**of_files, "step": group.step, "history": history, "max_series": None})
    job = make_job(name, config, GroupSource(group, base), hold)
    count = group.values.shape[2]
    record = Record(base * group.step, group.step, count, [((ENTITY, series.name),) for series in group.series])
    first = base + min(max(lead, 1), count) - 1
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

    As in service the first cycle takes what came before as history. Once the detector has its model, a window's worth
    of samples is handed to a cycle at once; it judges them one by one, with the same verdicts.
    """
    metrics = SelfMetrics()
    telemetry = Telemetry(metrics, {})
    step, at, done = job.config.step, first, 0
    while at <= last:
        # Half a step later, so that rounding a fraction of a second does not fall short of the sample.
        yield from evaluate(job, (at + 0.5) * step + job.config.lag, telemetry, metrics)
        progress(at - first + 1 - done)
        done = at - first + 1
        if at == last:
            break
        at = min(at + (job.window.samples if job.fitted else 1), last)
