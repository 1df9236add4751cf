"""A fleet through the exporter's own cycle, and what became of it."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors import Batch, Detector, Flags, Floats, Judgement, State
from detectors.types import Key
from exporter.backtest.replay import make_job
from exporter.config.sections.job import JobConfig
from exporter.pipeline.cycle import judge
from exporter.pipeline.job import Job
from exporter.pipeline.policy import STAYS_OPEN
from exporter.pipeline.verdict import Verdict
from tests.fleet.series import MONDAY
from tests.support.fake import FakeSource


@dataclass(frozen=True, eq=False)
class Opened:
    """Incidents that the exporter opened, one value each; columns are sample numbers, -1 for never.

    `severity` is the last before it closed.
    """

    row: NDArray[np.int64]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    alert: NDArray[np.int64]
    severity: Floats


class Log:
    """Takes verdicts in and keeps incidents, group scores and the scores that count."""

    def __init__(self, entities: int) -> None:
        self._open = np.full(entities, -1)
        self._alert = np.full(entities, -1)
        self._severity = np.zeros(entities)
        self._done: list[tuple[int, int, int, int, float]] = []
        self._at = 0
        self.groups: list[list[float]] = []
        self.hot: list[tuple[int, NDArray[np.intp], Floats]] = []

    def add(self, verdict: Verdict) -> None:
        """Take in the verdict of one sample."""
        at = self._at
        ended = np.flatnonzero((self._open >= 0) & ~verdict.flag)
        self._close(ended)
        began = np.flatnonzero(verdict.flag & (self._open < 0))
        self._open[began] = at
        self._alert[verdict.alert & (self._alert < 0)] = at
        self._severity = np.where(verdict.flag, verdict.severity, 0.0)
        self.groups.append(list(verdict.groups.values()))
        rows = np.flatnonzero(~(verdict.score <= STAYS_OPEN))  # or no verdict
        if len(rows):
            self.hot.append((at, rows, verdict.score[rows]))
        self._at += 1

    def _close(self, rows: NDArray[np.intp]) -> None:
        self._done += [
            (int(r), int(self._open[r]), self._at, int(self._alert[r]), float(self._severity[r])) for r in rows
        ]
        self._open[rows] = self._alert[rows] = -1

    def opened(self) -> Opened:
        """Return the incidents in the order of their beginning."""
        self._close(np.flatnonzero(self._open >= 0))
        table = np.array(sorted(self._done, key=lambda one: one[1]), float).reshape(-1, 5)
        return Opened(*(table[:, n].astype(np.int64) for n in range(4)), table[:, 4])

    def scores(self) -> Iterator[Floats]:
        """Yield the scores again, 0 where they neither open nor keep open: incidents and alerts are the same."""
        hot = {at: (rows, scores) for at, rows, scores in self.hot}
        for at in range(self._at):
            score = np.zeros(len(self._open))
            if at in hot:
                rows, above = hot[at]
                score[rows] = above
            yield score


class Scored:
    """A detector that says what it is told: the scores of one sample after the other, shape (E,) each."""

    window = 2

    def __init__(self, scores: Iterable[Floats]) -> None:
        self._scores = iter(scores)

    def fit(self, history: Batch) -> "Scored":
        return self

    def score(self, batch: Batch) -> Judgement:
        nothing = np.full((len(batch.keys), 1), np.nan)
        return Judgement(next(self._scores), nothing, nothing, nothing, nothing)

    def update(self, fresh: Batch, frozen: Flags, rebaselined: Flags) -> None:
        pass

    def state(self) -> State:
        return {}

    def restore(self, state: State) -> "Scored":
        return self


def make(step: float, detector: Detector | str = "auto", **settings: object) -> Job:
    """Return a job as it is at a live start; `detector` is a name, or a detector itself."""
    named = detector if isinstance(detector, str) else "robust"
    tree = {"expr": "q", "rate": False, "step": step, "window": 2 * step, "group": ["rack"], "detector": named}
    job = make_job("fleet", JobConfig.model_validate(tree | settings), FakeSource(), hold=True)
    if not isinstance(detector, str):
        job.model.detector = detector
    return job


def run(job: Job, keys: tuple[Key, ...], values: Iterable[Floats], progress: Callable[[], None] = lambda: None) -> Log:
    """Judge the samples of one time after the other, shape (E,) each."""
    step, log = job.config.step, Log(len(keys))
    before = np.full(len(keys), np.nan)
    for at, newest in enumerate(values):
        times = MONDAY + step * np.array([at - 1.0, at])
        log.add(judge(job, Batch(keys, ("value",), times, np.stack([before, newest], axis=1)[:, None]), _unmeasured))
        before = newest
        progress()
    return log


def _unmeasured(stage: object) -> nullcontext[None]:
    return nullcontext()
