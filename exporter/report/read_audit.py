"""Reads incidents from the audit file and the files rotated from it."""

import csv
import json
from collections.abc import Collection, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from detectors.types import Key
from exporter.config.sections.service import AuditConfig
from exporter.report.data import AuditTrail, Period
from exporter.sinks.audit_rows import COLUMNS, HEADER, timestamp

_SILENT: Final = 3600.0
"""Seconds without a row that end an incident: the exporter did not run."""
_FLAGS: Final = {"0": False, "1": True}
_JOB, _LABELS, _FLAG = (COLUMNS.index(name) for name in ("job", "labels", "flag"))


def read_audit(config: AuditConfig | None, jobs: Collection[str], period: Period) -> AuditTrail:
    """Return the incidents of `jobs` in `period`. Never raises: the note says which files or rows were left out."""
    if config is None:
        return AuditTrail()
    if not config.path.exists():
        return AuditTrail(note=f"The audit file {config.path} is not there: all below is from Prometheus alone.")
    reader = _Reader(period)
    unreadable = []
    for path in _files(config.path, config.keep, period.start):
        try:
            reader.read(path)
        except OSError as error:
            unreadable.append(f"{path} ({error.strerror})")
        except ValueError:
            unreadable.append(f"{path} (its columns are not those of an audit file)")
    intervals = reader.intervals(jobs)
    notes = []
    if unreadable:
        notes.append(f"Not readable, and left out: {', '.join(unreadable)}.")
    if reader.torn:
        notes.append(f"Torn or strange rows of the audit file {config.path}, left out: {reader.torn}.")
    return AuditTrail(intervals=intervals, rows=reader.rows, note=" ".join(notes))


class _Reader:
    """Turns the rows of a period, read file after file, into incidents; counts the rows that it cannot read."""

    def __init__(self, period: Period) -> None:
        self._since, self._until = timestamp(period.start), timestamp(period.end)
        self._open: dict[tuple[str, str], tuple[float, float]] = {}  # by cells of job and labels: first and last row
        self._closed: dict[tuple[str, str], list[tuple[float, float]]] = {}
        self.rows = self.torn = 0

    def read(self, path: Path) -> None:
        """Add the rows of a file. Raises OSError, and ValueError when the file has other columns."""
        for cells in _rows(path):
            if len(cells) != len(COLUMNS):
                self.torn += 1
            elif self._since <= cells[0] < self._until:  # times of this form sort as text
                try:
                    time, flag = datetime.fromisoformat(cells[0]).timestamp(), _FLAGS[cells[_FLAG]]
                except (ValueError, KeyError):
                    self.torn += 1
                else:
                    self.rows += 1
                    self._add((cells[_JOB], cells[_LABELS]), time, flag)

    def _add(self, entity: tuple[str, str], time: float, flag: bool) -> None:
        self._closed.setdefault(entity, [])
        start, last = self._open.get(entity, (time, time))
        if time - last > _SILENT:
            self._close(entity, last)
            start = time
        if flag:
            self._open[entity] = start, time
        else:
            self._close(entity, time)

    def _close(self, entity: tuple[str, str], time: float) -> None:
        if entity in self._open:
            start, _ = self._open.pop(entity)
            self._closed[entity].append((start, time))

    def intervals(self, jobs: Collection[str]) -> dict[str, dict[Key, list[tuple[float, float]]]]:
        """Return start and end of each incident, by job and entity; those still open end at their last row."""
        for entity, (_, last) in list(self._open.items()):
            self._close(entity, last)
        found: dict[str, dict[Key, list[tuple[float, float]]]] = {}
        for (job_cell, labels), closed in self._closed.items():
            job, key = _decoded(job_cell, labels)
            self.torn += key is None
            if key is not None and job in jobs and closed:
                found.setdefault(job, {})[key] = closed
        return found


def _files(path: Path, keep: int, start: float) -> list[Path]:
    """Return the files that were written to after `start`, oldest first."""
    files = []
    for file in (*(path.with_name(f"{path.name}.{number}") for number in range(keep, 0, -1)), path):
        with suppress(OSError):
            if file.stat().st_mtime >= start:
                files.append(file)
    return files


def _rows(path: Path) -> Iterator[list[str]]:
    """Yield the cells of each line, none for a torn line. Raises OSError, and ValueError for other columns."""
    with path.open("rb") as file:
        head = file.readline(len(HEADER) + 1)
        if head and head != HEADER:
            raise ValueError("other columns")
        for line in file:
            if not line.endswith(b"\n"):
                yield []  # torn by a kill or a full disk; the exporter repairs the line when it writes next
                return
            try:
                yield next(csv.reader([line.decode("utf-8", "replace")]), [])
            except csv.Error:
                yield []


def _decoded(job: str, labels: str) -> tuple[str, Key | None]:
    try:
        found = json.loads(labels)
        return json.loads(f'"{job}"'), tuple(sorted((str(name), str(value)) for name, value in found.items()))
    except (ValueError, AttributeError):
        return job, None
