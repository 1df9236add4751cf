"""One task of a training as plain data: it is sent to another process, or to another machine."""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import structlog

from exporter.backtest.progress import Bar
from exporter.config.models import Config, LogConfig
from exporter.logs import configure
from exporter.shard import Shard
from exporter.store import StoreError
from exporter.train.errors import NothingToLearn, TrainError
from exporter.train.outcome import Kind, TrainOutcome, plain
from exporter.train.stages import Training, newest

Stage = Literal["all", "fit", "gate", "promote", "report"]
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TrainTask:
    """What to do with one job, or with one replica's part of it.

    Parameters
    ----------
    config : Config
        It names secrets, it holds none.
    job : str
    shard : Shard
    stage : str
    start, end : float
        Unix seconds.
    version : str or None
        The candidate, None: the newest that waits for the stage.
    why : str
        What called for the training.
    attempted : float
        When the last training began that came to an end, Unix seconds.
    bar : bool
        Show how far it is; only where nothing else does.
    """

    config: Config
    job: str
    shard: Shard
    stage: Stage
    start: float
    end: float
    version: str | None = None
    why: str = ""
    attempted: float = 0.0
    bar: bool = False

    def outcome(self, kind: Kind, reason: str, **more: object) -> TrainOutcome:
        """Return an outcome of this task."""
        share = f"{self.shard.index}/{self.shard.count}"
        fields = {"attempted": self.attempted, **more}
        return TrainOutcome(job=self.job, shard=share, outcome=kind, reason=reason, **fields)  # type: ignore[arg-type] # msgspec checks what it decodes, the callers are few


def run_task(task: TrainTask) -> TrainOutcome:
    """Do what a task says; what goes wrong is its outcome. The store is told of every end but `skipped`."""
    configure(LogConfig(format="console", level="warning"))  # a worker has set up nothing
    began, clock = time.time(), time.perf_counter()
    outcome = _done(task, began)
    outcome = _timed(outcome, began, time.perf_counter() - clock)
    if outcome.outcome in {"promoted", "rejected", "failed"}:
        _record(task, outcome)
    return outcome


def _done(task: TrainTask, began: float) -> TrainOutcome:
    version = task.version or ""
    try:
        with ExitStack() as stack:
            training = stack.enter_context(Training(task.config, task.job, task.shard, task.start, task.end))
            if task.bar:
                columns = training.last - training.first + 1
                bar = stack.enter_context(Bar(round(columns * (1 + 4 * task.config.train.held_back)), task.job))
                training.progress = bar.add
            if task.stage in {"all", "fit"}:
                manifest = training.fit()
                version = manifest.version
                if task.stage == "fit":
                    return task.outcome("candidate", task.why, version=version, figures=manifest.quality)
            elif task.version is None:
                version = newest(training.store, training.model, judged=task.stage == "promote")
            if task.stage in {"all", "gate"}:
                ruling = training.judge(version)
                figures = plain(ruling.figures)
                if not ruling.passed:
                    return task.outcome("rejected", ruling.reason, version=version, figures=figures, attempted=began)
                if task.stage == "gate":
                    return task.outcome("passed", ruling.reason, version=version, figures=figures)
            return _promoted(task, training, version, began)
    except NothingToLearn as error:
        return task.outcome("skipped", str(error))
    except (TrainError, StoreError) as error:
        return task.outcome("failed", str(error), version=version)


def _promoted(task: TrainTask, training: Training, version: str, began: float) -> TrainOutcome:
    said = training.store.outcome(training.model, version)
    figures = {} if said is None else said.figures
    if said is not None and not said.passed:
        return task.outcome("rejected", said.reason, version=version, figures=figures, attempted=began)
    return task.outcome("promoted", training.promote(version), version=version, figures=figures, attempted=began)


def _timed(outcome: TrainOutcome, began: float, seconds: float) -> TrainOutcome:
    return TrainOutcome(**{**outcome.record(), "seconds": round(seconds, 3), "time": began})


def _record(task: TrainTask, outcome: TrainOutcome) -> None:
    assert task.config.models is not None
    from exporter.store import Store

    try:
        Store(task.config.models).record(task.shard.model_name(task.job), outcome.record())
    except StoreError as error:
        log.warning("training_not_recorded", job=task.job, error=str(error), hint="the metrics show the one before")
