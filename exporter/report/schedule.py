"""Writes scheduled reports in a child process, so that no cycle waits for a report."""

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

import structlog

from detectors.units import HOUR, MINUTE
from exporter.config.sections.service import ReportConfig
from exporter.observe.metrics import SelfMetrics
from exporter.report.data import Period

EMPTY: Final = 3
"""Exit code of the command when there is no history to report on."""
_CHECK: Final = MINUTE
"""Seconds between two looks at whether a report is due."""
_RETRY: Final = HOUR
_TIMEOUT: Final = 1800.0
_SETTLED: Final = 300.0
"""Seconds after the end of a period in which its last samples arrive."""

log = structlog.get_logger()


def last_period(schedule: str, now: float) -> Period:
    """Return the newest week (Monday to Monday) or calendar month, in UTC, that has ended at `now` (Unix seconds)."""
    today = datetime.fromtimestamp(now - _SETTLED, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if schedule == "weekly":
        return Period.until("week", (today - timedelta(days=today.weekday())).timestamp())
    return Period.until("month", today.replace(day=1).timestamp())


def file_name(period: Period) -> str:
    """Return the name of the report's file, by the first day of the period."""
    return f"report-{period.name}-{datetime.fromtimestamp(period.start, UTC):%Y-%m-%d}.html"


class Reporter:
    """Writes the newest scheduled report if its file is missing, also after a restart or a week of downtime.

    Parameters
    ----------
    config, profile
        The exporter's own configuration file and profile, for the child process.
    metrics
        Counts written, empty and failed reports.
    clock
        Returns Unix seconds.
    command
        Command that writes a report.
    """

    def __init__(
        self,
        config: Path,
        profile: str | None,
        metrics: SelfMetrics,
        clock: Callable[[], float] = time.time,
        command: Sequence[str] = (sys.executable, "-m", "anomaly_exporter", "report"),
    ) -> None:
        arguments = ["--config", str(config), *(["--profile", profile] if profile else [])]
        # The cycles need the processor more than the report does.
        lower_priority = ["nice", "-n", "10"] if shutil.which("nice") else []
        self._command = [*lower_priority, *command, *arguments]
        self._metrics, self._clock = metrics, clock
        self._child: _Child | None = None
        self._guard, self._closed = threading.Lock(), False
        self._next = 0.0
        self._empty: Period | None = None

    def tick(self, config: ReportConfig | None) -> None:
        """Start a report that is due, or look after the running child; never waits and never raises."""
        with self._guard:
            if self._closed:
                return
            now = time.monotonic()
            if self._child is not None:
                if self._child.ended(now):
                    self._finish(self._child, now)
            elif config is not None and now >= self._next:
                self._next = now + _CHECK
                self._start(config, now)

    def close(self) -> None:
        """Kill the running child and start no other."""
        with self._guard:
            self._closed = True
            if self._child is not None:
                self._child.kill()
                self._child.close()
                self._child = None

    def _start(self, config: ReportConfig, now: float) -> None:
        period = last_period(config.schedule, self._clock())
        file = config.path / file_name(period)
        if period == self._empty:
            return
        try:
            if not file.exists():
                config.path.mkdir(parents=True, exist_ok=True)
                self._child = _Child(period, file, config.keep, self._command, now + _TIMEOUT)
        except OSError as error:
            self._failed(file, f"{config.path}: {error.strerror}", now)

    def _finish(self, child: "_Child", now: float) -> None:
        self._child = None
        message = child.close()
        if child.code == 0:
            self._metrics.reports.labels("made").inc()
            log.info("report_written", file=str(child.file))
            _delete_old(child.file.parent, child.period.name, child.keep)
        elif child.code == EMPTY:
            self._empty = child.period
            self._metrics.reports.labels("empty").inc()
            log.info("report_skipped", period=child.file.name, why=message)
        else:
            self._failed(child.file, message, now)

    def _failed(self, file: Path, why: str, now: float) -> None:
        self._next = now + _RETRY
        self._metrics.reports.labels("failed").inc()
        log.error("report_failed", report=file.name, error=why, hint="it is tried again in an hour")


class _Child:
    """The process that writes a report; it is killed at `deadline` (monotonic seconds)."""

    def __init__(self, period: Period, file: Path, keep: int, command: list[str], deadline: float) -> None:
        self.period, self.file, self.keep = period, file, keep
        self._deadline, self._late = deadline, False
        self._stderr: IO[bytes] = TemporaryFile()  # noqa: SIM115 - lives as long as the process
        end = datetime.fromtimestamp(period.end, UTC).isoformat()
        self._process = subprocess.Popen(  # noqa: S603 - our own command, no shell
            [*command, "--period", period.name, "--to", end, "--out", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
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

    def close(self) -> str:
        """Release the files of an ended process; return its last message."""
        with self._stderr:
            self._stderr.seek(0)
            lines = self._stderr.read(65_536).decode("utf-8", "replace").split("\n")
        if self._late:
            return f"not written within {_TIMEOUT / MINUTE:.0f} minutes"
        return next((line for line in reversed(lines) if line.strip()), f"exit code {self.code}")


def _delete_old(folder: Path, period: str, keep: int) -> None:
    """Delete all but the newest `keep` reports on weeks, or on months."""
    try:
        for old in sorted(folder.glob(f"report-{period}-????-??-??.html"))[:-keep]:
            old.unlink(missing_ok=True)
    except OSError as error:
        log.warning("reports_not_deleted", folder=str(folder), error=error.strerror)
