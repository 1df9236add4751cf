"""The audit file: who was flagged when, and on what grounds."""

import os
import threading
from collections import deque
from itertools import islice
from pathlib import Path
from typing import Final

import structlog

from exporter.atomic_files import Lock, LockHeld
from exporter.config.sections.root import Config
from exporter.config.sections.service import AuditConfig
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.verdict import Verdict
from exporter.sinks.audit_rows import EARLIER, HEADER, AuditRowFormatter
from exporter.sinks.base import Change, EveryVerdict, SinkError
from exporter.sinks.rotating_csv import CsvFile

PENDING_LIMIT = 64 * 2**20
"""Bytes of rows kept while the file cannot be written."""
RETRY_SECONDS = 5.0
CLOSE_WITHIN: Final = 5.0
"""Seconds that a file which a reload has replaced is given to write its last rows."""

log = structlog.get_logger()


class AuditError(SinkError):
    """Another instance writes this audit file."""


class Audit:
    """Writes verdicts to a CSV file, from a thread of its own: a slow disk never makes a cycle wait.

    While the file cannot be written, rows are kept in memory, up to `PENDING_LIMIT`, and tried again with the next
    verdict and every few seconds; the jobs go on. Rows beyond that are dropped and counted: the newest first, since the
    beginning of an incident is worth most.

    Raises
    ------
    AuditError
        Another instance writes the same file.
    """

    def __init__(self, config: AuditConfig, metrics: SelfMetrics) -> None:
        self._metrics = metrics
        self._rows = AuditRowFormatter(config.all_samples)
        self._file = CsvFile(config.path, HEADER, config.max_size, config.keep, EARLIER)
        self._lock = Lock(config.path.with_name(config.path.name + ".lock"))
        self._pending: deque[bytes] = deque()
        self._pending_bytes = 0
        self._guard = threading.Lock()  # of the pending rows; never held during input or output
        self._wake = threading.Event()
        self._closing = False
        self._trouble = ""
        self._losing = False
        try:
            self._lock.acquire()
        except LockHeld as error:
            raise AuditError(
                f"audit file {config.path} is in use: {error}; give each exporter its own audit.path"
            ) from None
        except OSError:
            self._wake.set()  # the first attempt to write says what is wrong, and goes on trying
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def writes(self, path: Path) -> bool:
        """Tell whether this is the file at `path`, however the path is spelled."""
        return os.path.realpath(self._file.path) == os.path.realpath(path)

    def configure(self, config: AuditConfig) -> None:
        """Use other settings for the same file; the lock and the rows that wait stay."""
        self._rows = AuditRowFormatter(config.all_samples)
        self._file.limit(config.max_size, config.keep)

    def write(self, verdict: Verdict) -> None:
        """Queue the rows of `verdict`; never waits for the disk."""
        rows = self._rows.of(verdict)
        size = sum(map(len, rows))
        lost = 0
        with self._guard:
            while rows and (self._closing or self._pending_bytes + size > PENDING_LIMIT):
                size -= len(rows.pop())
                lost += 1
            self._pending.extend(rows)
            self._pending_bytes += size
        if lost:
            self._count_lost(lost)
        if rows:
            self._wake.set()

    def close(self, timeout: float) -> None:
        """Write what is pending, for at most `timeout` seconds, and let go of the file; what is left counts as lost."""
        with self._guard:
            if self._closing:
                return
            self._closing = True
        self._wake.set()
        self._thread.join(timeout)
        with self._guard:
            left = len(self._pending)
        if left:
            self._count_lost(left)

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(RETRY_SECONDS if self._trouble else None)
            self._wake.clear()
            self._write_pending()
        self._write_pending()
        try:
            self._file.close()
        except OSError as error:
            self._failed(error)
        self._lock.release()

    def _write_pending(self) -> None:
        try:
            if not self._lock.held():  # also when the folder was deleted and made again
                self._lock.release()
                self._lock.acquire()
            while batch := self._next_batch():
                written = self._file.append(batch)
                self._written(batch[:written].count(b"\n"), written)
        except Exception as error:  # whatever it is: this thread must live, or all further rows are lost
            self._failed(error)

    def _next_batch(self) -> bytes:
        """Return pending rows for one write, at least one; they stay pending until they are written."""
        size = 0
        with self._guard:
            for count, row in enumerate(self._pending):
                size += len(row)
                if count and size > self._file.batch_size:
                    return b"".join(islice(self._pending, count))
            return b"".join(self._pending)

    def _written(self, rows: int, size: int) -> None:
        with self._guard:
            for _ in range(rows):
                self._pending.popleft()
            self._pending_bytes -= size
        self._metrics.audit_rows.inc(rows)
        if self._trouble:
            log.info("audit_recovered", path=str(self._file.path), after=self._trouble)
            self._trouble, self._losing = "", False

    def _failed(self, error: Exception) -> None:
        """Count every failure; log each cause once."""
        self._metrics.audit_errors.inc()
        cause = (isinstance(error, OSError) and error.strerror) or f"{type(error).__name__}: {error}"
        if cause != self._trouble:
            log.warning(
                "audit_write_failed",
                path=str(self._file.path),
                error=cause,
                rows_waiting=len(self._pending),
                hint="make room, or make the folder exist and writable; rows are kept in memory until then",
            )
            self._trouble = cause

    def _count_lost(self, rows: int) -> None:
        self._metrics.audit_lost.inc(rows)
        if not self._losing:
            log.error("audit_rows_lost", path=str(self._file.path), rows=rows, why=self._trouble or "closing")
            self._losing = True


class AuditSink(EveryVerdict):
    """The audit file that the configuration asks for, if it asks for one."""

    def __init__(self, metrics: SelfMetrics) -> None:
        self._metrics = metrics
        self._audit: Audit | None = None
        self._exchanging = threading.Lock()  # a row goes to a file that is not closed yet

    def prepare(self, config: Config) -> Change:
        """Open the file of `config` if it is another one. Raises AuditError."""
        open_now, wanted = self._audit, config.audit
        if wanted is not None and open_now is not None and open_now.writes(wanted.path):
            return Change(lambda: open_now.configure(wanted))
        if wanted is None:
            return Change(lambda: self._exchange(None))
        audit = Audit(wanted, self._metrics)
        return Change(lambda: self._exchange(audit), lambda: audit.close(CLOSE_WITHIN))

    def record(self, verdict: Verdict) -> None:
        """Queue the rows of a verdict."""
        with self._exchanging:
            if self._audit is not None:
                self._audit.write(verdict)

    def close(self, timeout: float) -> None:
        """Write what is pending and let go of the file."""
        if self._audit is not None:
            self._audit.close(timeout)

    def _exchange(self, audit: Audit | None) -> None:
        with self._exchanging:
            before, self._audit = self._audit, audit
        if before is not None:
            before.close(CLOSE_WITHIN)
