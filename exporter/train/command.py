"""What `anomaly-exporter train` does: which jobs are due, their training in parallel, one line per outcome."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
import structlog
from pydantic import ValidationError

from exporter.config.sections.root import Config
from exporter.config.sections.train import Endpoint
from exporter.config.values import duration, moment
from exporter.errors import InputError
from exporter.labelled_incidents import read_incidents
from exporter.models import Store, StoreError
from exporter.models.retrain_requests import RetrainFolder, RetrainRequest
from exporter.parallel.spread import spread
from exporter.parallel.task import SpreadError
from exporter.pipeline.shard import Shard
from exporter.train.errors import TrainError
from exporter.train.pushgateway import push
from exporter.train.result import TrainOutcome, exit_code
from exporter.train.task import Stage, TrainTask, run_task
from exporter.train.trigger import due

FITTING: Final = frozenset({"all", "fit"})
log = structlog.get_logger()


class UsageError(Exception):
    """The command cannot be run as asked for. The message names the option or key, and what to do."""


@dataclass(slots=True)
class Plan:
    """The trainings to run, the outcomes already known, and the retraining requests of drift detection by job."""

    tasks: list[TrainTask] = field(default_factory=list)
    outcomes: list[TrainOutcome] = field(default_factory=list)
    requests: dict[str, RetrainRequest] = field(default_factory=dict)


def settings(config: Config, changes: Mapping[str, Any], pushgateway: str | None) -> Config:
    """Return the configuration with the `train` keys that the command line changes. Raises UsageError.

    Parameters
    ----------
    config : Config
        As in the file.
    changes : mapping
        Keys of `train`; None leaves the value of the file.
    pushgateway : str or None
        URL that replaces that of `train.pushgateway`.
    """
    train = config.train.model_copy(update={name: value for name, value in changes.items() if value is not None})
    if pushgateway is not None:
        endpoint = train.pushgateway.model_dump() if train.pushgateway else {}
        try:
            train = train.model_copy(update={"pushgateway": Endpoint.model_validate({**endpoint, "url": pushgateway})})
        except ValidationError as error:
            raise UsageError(f"--pushgateway: {error.errors(include_url=False)[0]['msg']}") from None
    if train.backend == "dask" and train.scheduler is None:
        raise UsageError("--backend dask needs --scheduler, such as tcp://dask:8786")
    return config.model_copy(update={"train": train})


def time_range(config: Config, since: str | None, start: str | None, end: str | None) -> tuple[float, float]:
    """Return start and end in Unix seconds of the flags --since, --from and --to. Raises UsageError."""
    try:
        last = time.time() if end is None else moment(end)
        if start is not None and since is not None:
            raise UsageError("give --from or --since, not both")
        window = config.train.window if since is None else duration(since)
        first = last - window if start is None else moment(start)
    except (ValueError, InputError) as error:
        raise UsageError(f"--from, --to, --since: {error}") from None
    if first >= last:
        raise UsageError("--from must be earlier than --to")
    return first, last


def plan(
    config: Config,
    jobs: Sequence[str],
    stage: Stage,
    period: tuple[float, float],
    *,
    version: str | None = None,
    force: bool = False,
) -> Plan:
    """Return the jobs that are due, and the outcomes that are known without training. Raises UsageError.

    Parameters
    ----------
    config : Config
        With a model store.
    jobs : sequence of str
        Names to consider.
    stage : str
        All stages, or the one to run.
    period : tuple of float
        Start and end of the training data, Unix seconds.
    version : str or None
        Version for the stages `gate` and `promote`.
    force : bool
        Train jobs that are not due too.
    """
    assert config.models is not None
    start, end = period
    try:
        events = [] if config.train.incidents is None else read_incidents(config.train.incidents)
    except InputError as error:
        raise UsageError(str(error)) from None
    made, store, folder = Plan(), Store(config.models), RetrainFolder.of(config)
    shards = [Shard(index, config.train.shards) for index in range(config.train.shards)]
    if version is not None and len(jobs) * len(shards) > 1:
        raise UsageError("--version names the model of one job: choose it with --job (and one shard)")
    for name in jobs:
        request = folder.read(name) if folder is not None else None
        if request is not None:
            made.requests[name] = request
        for shard in shards:
            task = TrainTask(config, name, shard, stage, start, end, version, known=len(events))
            try:
                if stage == "report":
                    made.outcomes.append(_reported(task, store))
                    continue
                task, wanted = _wanted(task, store, request, force)
            except StoreError as error:
                made.outcomes.append(task.outcome("failed", str(error)))
                continue
            if wanted:
                made.tasks.append(task)
            else:
                made.outcomes.append(task.outcome("skipped", task.why, trigger=""))
    return made


def run(config: Config, plan: Plan, stage: Stage, *, workers: int | None = None, as_json: bool | None = None) -> int:
    """Train what is planned, print one line per outcome, as JSON unless on a terminal, and return the exit code."""
    as_json = not sys.stdout.isatty() if as_json is None else as_json
    for outcome in plan.outcomes:
        _print(outcome, as_json)
    for outcome in _trained(config, plan.tasks, workers):
        plan.outcomes.append(outcome)
        _print(outcome, as_json)
    folder = RetrainFolder.of(config)
    if folder is not None:
        _consume(folder, plan)
    if config.train.pushgateway is not None and stage in {"all", "report"}:
        try:
            push(config.train.pushgateway, plan.outcomes)
        except TrainError as error:
            log.warning("outcome_not_pushed", error=str(error), hint="the models are as the lines above say")
    return exit_code(plan.outcomes)


def _reported(task: TrainTask, store: Store) -> TrainOutcome:
    """Return how the last training ended, as recorded in the store. Raises StoreError."""
    try:
        return msgspec.convert(store.recorded(task.shard.model_name(task.job)), TrainOutcome)
    except msgspec.ValidationError:
        return task.outcome("skipped", "nothing is known of an earlier training")


def _wanted(task: TrainTask, store: Store, request: RetrainRequest | None, force: bool) -> tuple[TrainTask, bool]:
    """Return the task with the reason why it is due or not, and whether it is due. Raises StoreError."""
    model = task.shard.model_name(task.job)
    before = _reported(task, store)
    task = replace(task, attempted=before.attempted, known_before=before.known)
    if task.stage not in FITTING:
        return task, True
    if force:
        return replace(task, why="--force"), True
    manifest = next((each.manifest for each in store.versions(model) if each.in_service), None)
    wanted, why = due(task, manifest, request, time.time())
    return replace(task, why=why), wanted


def _trained(config: Config, tasks: Sequence[TrainTask], workers: int | None) -> Iterator[TrainOutcome]:
    """Yield the outcome of every task, in the order in which they end."""
    left = {(task.job, task.shard.index): task for task in tasks}
    alone = len(tasks) == 1 and config.train.backend != "dask"
    if alone:
        tasks = [replace(task, bar=True) for task in tasks]
    try:
        for result in spread(
            run_task, tasks, config.train.backend, config.train.scheduler, workers, progress=not alone
        ):
            task = left.pop((result.task.job, result.task.shard.index))
            yield result.value or task.outcome("failed", result.error or "no answer", seconds=result.seconds)
    except SpreadError as error:
        for task in left.values():
            yield task.outcome("failed", str(error))


def _consume(folder: RetrainFolder, plan: Plan) -> None:
    """Remove the requests of the jobs whose shards all have a new active model."""
    for job, request in plan.requests.items():
        kinds = {outcome.outcome for outcome in plan.outcomes if outcome.job == job}
        if kinds and kinds <= {"promoted", "skipped"} and "promoted" in kinds:
            try:
                folder.consume(request)
            except OSError as error:
                hint = "the next run trains the job once more; make the folder writable"
                log.warning("retrain_request_kept", job=job, error=str(error), hint=hint)


def _print(outcome: TrainOutcome, as_json: bool) -> None:
    shard = "" if outcome.shard == "0/1" else f" ({outcome.shard})"
    text = f"{outcome.job}{shard}: {outcome.outcome} {outcome.version}".rstrip() + f": {outcome.reason}"
    if left_out := outcome.figures.get("left_out"):
        text += f"; {left_out:.2%} of the samples were left out of the training"
    sys.stdout.write((outcome.line() if as_json else text) + "\n")
    sys.stdout.flush()
