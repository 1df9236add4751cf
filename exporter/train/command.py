"""The train command: which jobs are due, their training spread over processes, one line for each."""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import msgspec
import structlog
from pydantic import ValidationError

from exporter.config.load import load
from exporter.config.sections.root import Config
from exporter.config.sections.service import LogConfig
from exporter.config.sections.train import Endpoint
from exporter.config.values import duration, moment
from exporter.errors import InputError
from exporter.labelled_incidents import read_incidents
from exporter.models import Store, StoreError
from exporter.models.retrain_requests import RetrainFolder, RetrainRequest
from exporter.observe.logs import configure
from exporter.pipeline.shard import Shard
from exporter.train.errors import TrainError
from exporter.train.parallel import Backend, spread
from exporter.train.parallel_task import SpreadError
from exporter.train.pushgateway import push
from exporter.train.result import TrainOutcome, exit_code
from exporter.train.task import Stage, TrainTask, run_task
from exporter.train.trigger import due

FITTING: Final = frozenset({"all", "fit"})
log = structlog.get_logger()


class UsageError(Exception):
    """The command cannot be run as asked for. The message names the option or key, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line; times are still text, None is what the configuration says."""

    config: Path
    profile: str | None = None
    jobs: Sequence[str] = ()
    shards: int | None = None
    backend: Backend | None = None
    scheduler: str | None = None
    workers: int | None = None
    force: bool = False
    stage: Stage = "all"
    version: str | None = None
    incidents: Path | None = None
    pushgateway: str | None = None
    start: str | None = None
    end: str | None = None
    since: str | None = None
    json: bool = False


@dataclass(slots=True)
class Plan:
    """What is to be trained, and what is known of it already.

    `requests` are what drift has asked for, by job.
    """

    tasks: list[TrainTask] = field(default_factory=list)
    outcomes: list[TrainOutcome] = field(default_factory=list)
    requests: dict[str, RetrainRequest] = field(default_factory=dict)


def run(options: Options) -> int:
    """Train what is due and print what became of it; return the exit code. Raises UsageError, ConfigError."""
    configure(LogConfig(format="console", level="warning"))
    config = _settings(load(options.config, options.profile).config, options)
    folder = RetrainFolder.of(config)
    plan = _planned(config, options, folder)
    as_json = options.json or not sys.stdout.isatty()
    for outcome in plan.outcomes:
        _print(outcome, as_json)
    for outcome in _trained(config, options, plan.tasks):
        plan.outcomes.append(outcome)
        _print(outcome, as_json)
    if folder is not None:
        _consume(folder, plan)
    if config.train.pushgateway is not None and options.stage in {"all", "report"}:
        try:
            push(config.train.pushgateway, plan.outcomes)
        except TrainError as error:
            log.warning("outcome_not_pushed", error=str(error), hint="the models are as the lines above say")
    return exit_code(plan.outcomes)


def _settings(config: Config, options: Options) -> Config:
    """Return the configuration with what the command line changes. Raises UsageError."""
    if config.models is None:
        raise UsageError(f"{options.config}: nowhere to keep models; add models: {{path: …}}")
    for job in options.jobs:
        if job not in config.jobs:
            raise UsageError(f"--job {job}: {options.config} has no such job, only {', '.join(config.jobs)}")
    given = {
        "shards": options.shards,
        "backend": options.backend,
        "scheduler": options.scheduler,
        "incidents": options.incidents,
    }
    train = config.train.model_copy(update={name: value for name, value in given.items() if value is not None})
    if options.pushgateway is not None:
        endpoint = train.pushgateway.model_dump() if train.pushgateway else {}
        try:
            train = train.model_copy(
                update={"pushgateway": Endpoint.model_validate({**endpoint, "url": options.pushgateway})}
            )
        except ValidationError as error:
            raise UsageError(f"--pushgateway: {error.errors(include_url=False)[0]['msg']}") from None
    if train.backend == "dask" and train.scheduler is None:
        raise UsageError("--backend dask needs --scheduler, such as tcp://dask:8786")
    return config.model_copy(update={"train": train})


def _range(config: Config, options: Options) -> tuple[float, float]:
    try:
        end = time.time() if options.end is None else moment(options.end)
        if options.start is not None and options.since is not None:
            raise UsageError("give --from or --since, not both")
        window = config.train.window if options.since is None else duration(options.since)
        start = end - window if options.start is None else moment(options.start)
    except ValueError as error:
        raise UsageError(f"--from, --to, --since: {error}") from None
    if start >= end:
        raise UsageError("--from must be earlier than --to")
    return start, end


def _planned(config: Config, options: Options, folder: RetrainFolder | None) -> Plan:
    """Return what is to be done. Raises UsageError."""
    assert config.models is not None
    start, end = _range(config, options)
    try:
        events = [] if config.train.incidents is None else read_incidents(config.train.incidents)
    except InputError as error:
        raise UsageError(str(error)) from None
    plan, store = Plan(), Store(config.models)
    shards = [Shard(index, config.train.shards) for index in range(config.train.shards)]
    names = options.jobs or list(config.jobs)
    if options.version is not None and len(names) * len(shards) > 1:
        raise UsageError("--version names the model of one job: choose it with --job (and one shard)")
    for name in names:
        request = folder.read(name) if folder is not None else None
        if request is not None:
            plan.requests[name] = request
        for shard in shards:
            task = TrainTask(config, name, shard, options.stage, start, end, options.version, known=len(events))
            try:
                if options.stage == "report":
                    plan.outcomes.append(_reported(task, store))
                    continue
                task, wanted = _wanted(task, store, request, options.force)
            except StoreError as error:
                plan.outcomes.append(task.outcome("failed", str(error)))
                continue
            if wanted:
                plan.tasks.append(task)
            else:
                plan.outcomes.append(task.outcome("skipped", task.why, trigger=""))
    return plan


def _reported(task: TrainTask, store: Store) -> TrainOutcome:
    """Return how the last training ended, as the store remembers it. Raises StoreError."""
    try:
        return msgspec.convert(store.recorded(task.shard.model_name(task.job)), TrainOutcome)
    except msgspec.ValidationError:
        return task.outcome("skipped", "nothing is known of an earlier training")


def _wanted(task: TrainTask, store: Store, request: RetrainRequest | None, force: bool) -> tuple[TrainTask, bool]:
    """Return the task with why it is due, or what it waits for, and whether it is. Raises StoreError."""
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


def _trained(config: Config, options: Options, tasks: Sequence[TrainTask]) -> Iterator[TrainOutcome]:
    """Yield what becomes of the tasks, as they end. Whatever happens each has an outcome."""
    left = {(task.job, task.shard.index): task for task in tasks}
    alone = len(tasks) == 1 and config.train.backend != "dask"
    if alone:
        tasks = [replace(task, bar=True) for task in tasks]
    try:
        for result in spread(
            run_task, tasks, config.train.backend, config.train.scheduler, options.workers, progress=not alone
        ):
            task = left.pop((result.task.job, result.task.shard.index))
            yield result.value or task.outcome("failed", result.error or "no answer", seconds=result.seconds)
    except SpreadError as error:
        for task in left.values():
            yield task.outcome("failed", str(error))


def _consume(folder: RetrainFolder, plan: Plan) -> None:
    """Take away the requests of the jobs whose every part has a new model in service."""
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
