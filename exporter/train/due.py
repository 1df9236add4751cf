"""Whether a job is due for training, and why."""

from datetime import UTC, datetime
from typing import Final

from exporter.config.train import TrainConfig
from exporter.config.units import format_duration
from exporter.manifest import Manifest
from exporter.retrain import RetrainRequest
from exporter.train.task import TrainTask

EARLY: Final = 0.1
"""Share of `every` that a training may come early: a job started at the same hour every week must not find that the
last training, minutes long, was not a whole week ago."""


def due(task: TrainTask, manifest: Manifest | None, request: RetrainRequest | None, now: float) -> tuple[bool, str]:
    """Return whether to train now, and the reason, or what is waited for.

    Parameters
    ----------
    manifest : Manifest or None
        Of the model in service.
    request : RetrainRequest or None
        What drift has asked for.
    now : float
        Unix seconds.
    """
    config = task.config.train
    if manifest is None:
        return True, "no model in service"
    if request is not None:
        return True, f"drift: {request.reason}"
    new = task.known - task.known_before
    if config.new_events and new >= config.new_events:
        return True, f"{new} more known incidents than at the last training"
    if config.max_age and now - manifest.trained_at > config.max_age:
        return True, f"the model in service is older than {format_duration(config.max_age)}"
    last = max(task.attempted, manifest.trained_at)
    if config.every and now - last >= (1 - EARLY) * config.every:
        return True, f"last trained {format_duration(round(now - last))} ago"
    return False, f"not due: waits {', '.join(_waits(config, manifest, last, new))} or for --force"


def _waits(config: TrainConfig, manifest: Manifest, last: float, new: int) -> list[str]:
    waits = []
    if config.every:
        waits.append(f"for {_date(last + (1 - EARLY) * config.every)} (train.every)")
    if config.max_age:
        waits.append(f"for {_date(manifest.trained_at + config.max_age)} (train.max_age)")
    if config.new_events:
        waits.append(f"for {config.new_events - max(new, 0)} more known incidents (train.new_events)")
    return [*waits, "for drift"]


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
