"""The audit file, and those rotated from it, read as incidents."""

import csv
import json
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from detectors.types import Key
from detectors.units import HOUR
from exporter.config.sections.service import AuditConfig
from exporter.report.data import Period, Trail
from exporter.sinks.audit_rows import COLUMNS, HEADER

_SILENT: Final = HOUR
"""Seconds without a row after which an incident is taken up anew: the exporter was not there."""
_FLAGS: Final = {"0": False, "1": True}
_AT: Final = {name: number for number, name in enumerate(COLUMNS)}


class _Interval:
    """The incident that an entity has open while the rows go by."""

    def __init__(self) -> None:
        self.closed: list[tuple[float, float]] = []
        self._open: tuple[float, float] | None = None

    def row(self, time: float, flag: bool) -> None:
        """Take the next row into account."""
        if self._open and time - self._open[1] > _SILENT:
            self.end(self._open[1])
        if flag:
            self._open = (self._open[0] if self._open else time), time
        elif self._open:
            self.end(time)

    def end(self, time: float | None = None) -> None:
        """Close what is open, at `time` or at its last row."""
        if self._open:
            self.closed.append((self._open[0], self._open[1] if time is None else time))
            self._open = None


def read_trail(config: AuditConfig | None, jobs: Collection[str], period: Period) -> Trail:
    """Return what the audit files say of `jobs` in `period`. Never raises: what cannot be read is in the note."""
    if config is None:
        return Trail()
    if not config.path.exists():
        return Trail(note=f"The audit file {config.path} is not there: all below is from Prometheus alone.")
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
    return Trail(intervals=intervals, rows=reader.rows, note=" ".join(notes))


class _Reader:
    """Goes through the rows of a period, file after file, and counts those that are none."""

    def __init__(self, period: Period) -> None:
        self._since, self._until = _text(period.start), _text(period.end)
        self._entities: dict[tuple[str, str], _Interval] = {}
        self.rows = self.torn = 0

    def read(self, path: Path) -> None:
        """Take the rows of a file in. Raises OSError, and ValueError when it is another kind of file."""
        for cells in _rows(path):
            if len(cells) != len(COLUMNS):
                self.torn += 1
            elif self._since <= cells[0] < self._until:  # the form of a time sorts as text
                self._row(cells)

    def intervals(self, jobs: Collection[str]) -> dict[str, dict[Key, list[tuple[float, float]]]]:
        """Return the incidents by job and entity."""
        found: dict[str, dict[Key, list[tuple[float, float]]]] = {}
        for (job_text, labels), interval in self._entities.items():
            interval.end()
            job, key = _decoded(job_text, labels)
            self.torn += key is None
            if key is not None and job in jobs and interval.closed:
                found.setdefault(job, {})[key] = interval.closed
        return found

    def _row(self, cells: list[str]) -> None:
        try:
            moment, flag = datetime.fromisoformat(cells[0]).timestamp(), _FLAGS[cells[_AT["flag"]]]
        except (ValueError, KeyError):
            self.torn += 1
            return
        self.rows += 1
        self._entities.setdefault((cells[_AT["job"]], cells[_AT["labels"]]), _Interval()).row(moment, flag)


def _files(path: Path, keep: int, start: float) -> list[Path]:
    """Return the files that may reach beyond `start`, from the oldest to the newest."""
    rotated = [path.with_name(f"{path.name}.{number}") for number in range(keep, 0, -1)]
    return [file for file in (*rotated, path) if _newer(file, start)]


def _newer(path: Path, start: float) -> bool:
    try:
        return path.stat().st_mtime >= start
    except OSError:
        return False


def _rows(path: Path) -> Iterator[list[str]]:
    """Yield the cells of each line. Raises OSError, and ValueError when it is another kind of file."""
    with path.open("rb") as file:
        head = file.readline(len(HEADER) + 1)
        if head and head != HEADER:
            raise ValueError("other columns")
        for line in file:
            if not line.endswith(b"\n"):
                yield []  # a kill or a full disk tore it; the exporter repairs it when it writes next
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


def _text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
