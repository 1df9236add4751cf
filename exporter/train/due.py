"""Whether a job is due for training, and why."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from exporter.backtest.incidents import Known
from exporter.config.train import TrainConfig
from exporter.config.units import format_duration
from exporter.manifest import Manifest
from exporter.retrain import RetrainRequest

EARLY: Final = 0.1
"""Share of `every` that a training may come early: a job started at the same hour every week must not find that the
last training, minutes long, was not a whole week ago."""


def due(
    config: TrainConfig,
    manifest: Manifest | None,
    attempted: float,
    request: RetrainRequest | None,
    events: Sequence[Known],
    now: float,
) -> tuple[bool, str]:
    """Return whether to train now, and the reason, or what is waited for.

    Parameters
    ----------
    manifest : Manifest or None
        Of the model in service.
    attempted : float
        When the last training began that came to an end, Unix seconds; 0 for never.
    request : RetrainRequest or None
        What drift has asked for.
    events : sequence of Known
    now : float
    """
    if manifest is None:
        return True, "no model in service"
    if request is not None:
        return True, f"drift: {request.reason}"
    ended = sum(manifest.trained_to < each.end <= now for each in events)
    if config.new_events and ended >= config.new_events:
        return True, f"{ended} known incidents since the model in service was trained"
    age = now - manifest.trained_at
    if config.max_age and age > config.max_age:
        return True, f"the model in service is older than {format_duration(config.max_age)}"
    since = now - max(attempted, manifest.trained_at)
    if config.every and since >= (1 - EARLY) * config.every:
        return True, f"last trained {format_duration(round(since))} ago"
    return False, f"not due: {waiting(config, manifest, attempted, ended)}"


def waiting(config: TrainConfig, manifest: Manifest, attempted: float, ended: int) -> str:
    """Say what a training waits for."""
    waits = []
    if config.every:
        waits.append(f"for {_date(max(attempted, manifest.trained_at) + (1 - EARLY) * config.every)} (train.every)")
    if config.max_age:
        waits.append(f"for {_date(manifest.trained_at + config.max_age)} (train.max_age)")
    if config.new_events:
        waits.append(f"for {config.new_events - ended} more known incidents (train.new_events)")
    return f"waits {', '.join([*waits, 'for drift'])} or for --force"


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
