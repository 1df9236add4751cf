"""Whether a job is due for training, and why."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from exporter.config.sections.job import JobConfig
from exporter.models.retrain_requests import RetrainRequest
from exporter.models.signed_records import Manifest, as_json, libraries
from exporter.promql import format_duration
from exporter.train.task import TrainTask

EARLY: Final = 0.1
"""Share of `every` that a training may come early: a job started at the same hour every week must not find that the
last training, minutes long, was not a whole week ago."""


def due(task: TrainTask, manifest: Manifest | None, request: RetrainRequest | None, now: float) -> tuple[bool, str]:
    """Return whether to train now, and the reason, or what is waited for.

    Parameters
    ----------
    manifest : Manifest or None
        Of the active model.
    request : RetrainRequest or None
        What drift has asked for.
    now : float
        Unix seconds.
    """
    if manifest is None:
        return True, "no active model"
    why = next(_reasons(task, manifest, request, now), None)
    return why is not None, why or f"not due: waits {', '.join(_waits(task, manifest))} or for --force"


def _reasons(task: TrainTask, manifest: Manifest, request: RetrainRequest | None, now: float) -> Iterator[str]:
    config = task.config.train
    if _of_something_else(manifest, task.config.jobs[task.job]):
        yield "the active model was made for another detector, or by other library versions"
    if request is not None:
        yield f"drift: {request.reason}"
    new = task.known - task.known_before
    if config.new_events and new >= config.new_events:
        yield f"{new} more known incidents than at the last training"
    if config.max_age and now - manifest.trained_at > config.max_age:
        yield f"the active model is older than {format_duration(config.max_age)}"
    last = max(task.attempted, manifest.trained_at)
    if config.every and now - last >= (1 - EARLY) * config.every:
        yield f"last trained {format_duration(round(now - last))} ago"


def _of_something_else(manifest: Manifest, job: JobConfig) -> bool:
    """Tell whether the exporter would refuse a model as the job is configured now."""
    wanted = job.detector_name, as_json(job.detector_parameters), tuple(job.queries)
    others = manifest.libraries.items() - libraries().items()
    return bool(others) or (manifest.detector, manifest.parameters, manifest.channels) != wanted


def _waits(task: TrainTask, manifest: Manifest) -> list[str]:
    waits, config = [], task.config.train
    if config.every:
        waits.append(
            f"for {_date(max(task.attempted, manifest.trained_at) + (1 - EARLY) * config.every)} (train.every)"
        )
    if config.max_age:
        waits.append(f"for {_date(manifest.trained_at + config.max_age)} (train.max_age)")
    if config.new_events:
        more = config.new_events - max(task.known - task.known_before, 0)
        waits.append(f"for {more} more known incidents (train.new_events)")
    return [*waits, "for drift"]


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
