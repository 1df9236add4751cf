"""Publishing the quality metrics of a backtest: the running exporter reads them and exposes them."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog
from prometheus_client import Gauge

from exporter.atomic_files import TooLarge
from exporter.config.sections.root import Config
from exporter.json_values import finite_values
from exporter.models.backend import FolderBackend
from exporter.models.exchange import Exchange, shared_folder
from exporter.models.signed_records import SealError
from exporter.observe.metrics import SelfMetrics

log = structlog.get_logger()

FOLDER: Final = ".backtests"


FIGURES: Final = {
    "recall": "backtest_recall",
    "precision": "backtest_precision",
    "f1": "backtest_f1",
    "time_to_detect": "backtest_delay",
    "false_per_series_week": "backtest_false",
    "alerts_per_week": "backtest_alerts",
    "events": "backtest_events",
}
"""What is published: name in `quality.Figures`, name in `SelfMetrics`."""


class Published(msgspec.Struct, forbid_unknown_fields=False):
    """The quality metrics of one job, as they are stored in its file; None where one has no value."""

    job: str
    time: float
    start: float
    end: float
    figures: dict[str, float | None]


def place(config: Config) -> Path | None:
    """Return the folder shared with the running exporter: next to the models, or else next to the state."""
    folder = shared_folder(config)
    return None if folder is None else folder / FOLDER


def publish(folder: Path, job: str, start: float, end: float, values: Mapping[str, float]) -> Path:
    """Write the figures of `job` over `start` to `end` (Unix seconds), atomically. Raises OSError."""
    return Path(_files(folder).write(Published(job, time.time(), start, end, finite_values(values))))


class BacktestMetrics:
    """Shows the figures published last as metrics; a file is read when it has changed."""

    def __init__(self, metrics: SelfMetrics) -> None:
        self._time = metrics.backtest_time
        self._gauges: dict[str, Gauge] = {name: getattr(metrics, gauge) for name, gauge in FIGURES.items()}
        self._shown: dict[str, int] = {}

    def show(self, config: Config) -> None:
        """Set the metrics of all jobs; those of a job without figures are absent. Never raises."""
        folder = place(config)
        before, self._shown = self._shown, {}
        for job in config.jobs:
            try:
                changed = 0 if folder is None else Path(_files(folder).where(job)).stat().st_mtime_ns
            except OSError:
                changed = 0
            self._shown[job] = changed
            if before.get(job, 0) != changed:
                self._set(job, folder)

    def _set(self, job: str, folder: Path | None) -> None:
        for gauge in (self._time, *self._gauges.values()):
            gauge.remove_by_labels({"query": job})
        found = None if folder is None else _read(folder, job)
        if found is None:
            return
        self._time.labels(job).set(found.time)
        for name, gauge in self._gauges.items():
            if (value := found.figures.get(name)) is not None:
                gauge.labels(job).set(value)


def published(config: Config, job: str) -> Published | None:
    """Return the figures of a job that were published last, None without any."""
    folder = place(config)
    return None if folder is None else _read(folder, job)


def _files(folder: Path) -> Exchange[Published]:
    return Exchange(FolderBackend(folder.parent), folder.name, Published)


def _read(folder: Path, job: str) -> Published | None:
    files = _files(folder)
    try:
        return files.read(job)
    except (OSError, TooLarge, SealError) as error:
        log.warning("backtest_not_shown", file=files.where(job), error=str(error), hint="run backtest --publish again")
        return None
