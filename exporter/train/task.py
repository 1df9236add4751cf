"""One task of a training as plain data: it is sent to another process, or to another machine."""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

import msgspec
import structlog

from exporter.config.sections.root import Config
from exporter.config.sections.service import LogConfig
from exporter.json_values import finite_values
from exporter.models import Store, StoreError
from exporter.observe.logs import configure
from exporter.observe.progress import Bar
from exporter.pipeline.shard import Shard
from exporter.train.errors import TrainError, Unneeded
from exporter.train.result import ENDS, Kind, TrainOutcome
from exporter.train.stages import Training

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
    known, known_before : int
        Incidents in the file now, and at that time.
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
    known: int = 0
    known_before: int = 0
    bar: bool = False

    def outcome(self, kind: Kind, reason: str, **more: object) -> TrainOutcome:
        """Return an outcome of this task."""
        share = f"{self.shard.index}/{self.shard.count}"
        fields = {
            "trigger": self.why,
            "attempted": self.attempted,
            "known": self.known_before,
            "time": time.time(),
            **more,
        }
        return TrainOutcome(job=self.job, shard=share, outcome=kind, reason=reason, **fields)  # type: ignore[arg-type] # msgspec checks what it decodes, the callers are few


def run_task(task: TrainTask) -> TrainOutcome:
    """Do what a task says; what goes wrong is its outcome. The store records every end but `skipped`."""
    configure(LogConfig(format="console", level="warning"))  # a worker has set up nothing
    began, clock = time.time(), time.perf_counter()
    outcome = _done(task, began)
    outcome = _timed(outcome, began, time.perf_counter() - clock)
    if outcome.outcome in ENDS and outcome.outcome != "skipped":
        _record(task, outcome)
    return outcome


def _done(task: TrainTask, began: float) -> TrainOutcome:
    training = Training(task.config, task.job, task.shard, task.start, task.end, version=task.version or "")
    try:
        with ExitStack() as stack:
            stack.enter_context(training)
            if task.bar:
                columns = training.last - training.first + 1
                bar = stack.enter_context(Bar(round(columns * (1 + 4 * task.config.train.holdout)), task.job))
                training.progress = bar.add
            return _staged(task, training, began)
    except Unneeded as error:
        return task.outcome("skipped", str(error), version=training.version)
    except (TrainError, StoreError) as error:
        return task.outcome("failed", str(error), version=training.version)


def _staged(task: TrainTask, training: Training, began: float) -> TrainOutcome:
    if task.stage in {"all", "fit"}:
        manifest = training.fit()
        if task.stage == "fit":
            return task.outcome("candidate", "waits for the gate", version=manifest.version, figures=manifest.quality)
    elif not training.has_candidate():
        return task.outcome("skipped", "no candidate waits: the newest model is active, or there is none")
    if task.stage in {"all", "gate"}:
        decision = training.judge()
        if decision.passed and task.stage == "gate":
            return task.outcome(
                "passed", decision.reason, version=training.version, figures=finite_values(decision.figures)
            )
    return _promoted(task, training, began)


def _promoted(task: TrainTask, training: Training, began: float) -> TrainOutcome:
    """Activate the candidate, unless the gate was against it."""
    decision = training.gate_decision()
    kind: Kind = "promoted"
    if decision is not None and not decision.passed:
        kind = "rejected"
    else:
        training.promote()
    reason, figures = ("", {}) if decision is None else (decision.reason, decision.figures)
    return task.outcome(kind, reason, version=training.version, figures=figures, attempted=began, known=task.known)


def _timed(outcome: TrainOutcome, began: float, seconds: float) -> TrainOutcome:
    return msgspec.structs.replace(outcome, seconds=round(seconds, 3), time=began)


def _record(task: TrainTask, outcome: TrainOutcome) -> None:
    assert task.config.models is not None
    try:
        Store(task.config.models).record(task.shard.model_name(task.job), outcome.record())
    except StoreError as error:
        log.warning("training_not_recorded", job=task.job, error=str(error), hint="the metrics show the one before")
