"""Reports at their time, made by a child process: no cycle waits for one."""

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final, Self

import structlog

from detectors.units import HOUR
from exporter.config.sections.service import ReportConfig
from exporter.observe.metrics import SelfMetrics

EMPTY: Final = 3
"""Exit code of the command when there is no history to report on."""
_CHECK: Final = 60.0
_AGAIN: Final = HOUR
_LONGEST: Final = 1800.0
_SETTLED: Final = 300.0
"""Seconds after the end of a period in which its last samples arrive."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Slot:
    """One report that should be there: the `period` from `start` to `end`."""

    period: str
    start: datetime
    end: datetime

    @classmethod
    def last(cls, schedule: str, now: float) -> Self:
        """Return the newest that has ended at `now` (Unix seconds)."""
        today = datetime.fromtimestamp(now - _SETTLED, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if schedule == "weekly":
            end = today - timedelta(days=today.weekday())
            return cls("week", end - timedelta(days=7), end)
        end = today.replace(day=1)
        return cls("month", (end - timedelta(days=1)).replace(day=1), end)

    @property
    def name(self) -> str:
        """Its file."""
        return f"report-{self.period}-{self.start:%Y-%m-%d}.html"


class Reporter:
    """Makes the newest report that is missing in its folder: after a restart, or a week without us, too.

    Parameters
    ----------
    config, profile
        The exporter's own configuration file and profile, for the child.
    metrics : SelfMetrics
    clock : callable
        Unix seconds.
    command : sequence of str
        What makes a report.
    """

    def __init__(
        self,
        config: Path,
        profile: str | None,
        metrics: SelfMetrics,
        clock: Callable[[], float] = time.time,
        command: Sequence[str] = (sys.executable, "-m", "exporter", "report"),
    ) -> None:
        self._arguments = ["--config", str(config), *(["--profile", profile] if profile else [])]
        self._metrics, self._clock = metrics, clock
        # Its processor time is worth less than that of the cycles.
        self._command = [*(["nice", "-n", "10"] if shutil.which("nice") else []), *command]
        self._child: _Child | None = None
        self._guard, self._closed = threading.Lock(), False
        self._next = 0.0
        self._empty: Slot | None = None

    def tick(self, config: ReportConfig | None) -> None:
        """Begin a report that is due, or see how the one under way is doing; never waits and never raises."""
        with self._guard:
            if not self._closed:
                self._tick(config, time.monotonic())

    def _tick(self, config: ReportConfig | None, now: float) -> None:
        if self._child is not None:
            if self._child.ended(now):
                self._finish(self._child, now)
        elif config is not None and now >= self._next:
            self._next = now + _CHECK
            slot = Slot.last(config.schedule, self._clock())
            if slot == self._empty:
                return
            try:
                if not (config.path / slot.name).exists():
                    config.path.mkdir(parents=True, exist_ok=True)
                    self._child = _Child(slot, config, [*self._command, *self._arguments], now)
            except OSError as error:
                self._failed(slot, f"{config.path}: {error.strerror}", now)

    def close(self) -> None:
        """End a report under way, and begin none any more."""
        with self._guard:
            self._closed = True
            if self._child is not None:
                self._child.kill()
                self._child.close()
                self._child = None

    def _finish(self, child: "_Child", now: float) -> None:
        self._child = None
        child.close()
        if child.code == 0:
            self._metrics.reports.labels("made").inc()
            log.info("report_written", file=str(child.file))
            child.prune()
        elif child.code == EMPTY:
            self._empty = child.slot
            self._metrics.reports.labels("empty").inc()
            log.info("report_skipped", period=child.slot.name, why=child.said)
        else:
            self._failed(child.slot, child.said, now)

    def _failed(self, slot: Slot, why: str, now: float) -> None:
        self._next = now + _AGAIN
        self._metrics.reports.labels("failed").inc()
        log.error("report_failed", report=slot.name, error=why, hint="it is tried again in an hour")


class _Child:
    """The process that makes a report."""

    def __init__(self, slot: Slot, config: ReportConfig, command: list[str], now: float) -> None:
        self.slot, self.file = slot, config.path / slot.name
        self._keep, self._deadline, self._late = config.keep, now + _LONGEST, False
        self.said = ""
        self._words: IO[bytes] = TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(  # noqa: S603 - our own command, no shell
            [*command, "--period", slot.period, "--to", slot.end.isoformat(), "--out", str(self.file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._words,
        )

    @property
    def code(self) -> int | None:
        return self._process.returncode

    def ended(self, now: float) -> bool:
        if self._process.poll() is None and now > self._deadline:
            self._late = True
            self.kill()
        return self._process.poll() is not None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Take in what an ended process said last."""
        with self._words:
            self._words.seek(0)
            lines = self._words.read(65_536).decode("utf-8", "replace").split("\n")
        self.said = next((line for line in reversed(lines) if line.strip()), f"exit code {self.code}")
        if self._late:
            self.said = f"not made within {_LONGEST / 60:.0f} minutes"

    def prune(self) -> None:
        """Delete the oldest reports of this kind."""
        try:
            there = sorted(self.file.parent.glob(f"report-{self.slot.period}-????-??-??.html"))
            for old in there[: -self._keep]:
                old.unlink(missing_ok=True)
        except OSError as error:
            log.warning("reports_not_deleted", folder=str(self.file.parent), error=error.strerror)
