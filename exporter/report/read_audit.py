"""Reads incidents from the audit file and the files rotated from it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from detectors.types import Key
from detectors.units import WEEK
from exporter.config.sections.service import AuditConfig
from exporter.report.data import Period
from exporter.sinks.audit_files import SILENT, decoded, files_since, rows_of
from exporter.sinks.audit_rows import COLUMNS, timestamp

FORGOTTEN: Final = WEEK
"""Seconds before the period that are looked at too: an incident that is open in it may have begun there."""
_FLAGS: Final = {"0": False, "1": True}
_JOB, _LABELS, _FLAG, _DEPLOY = (COLUMNS.index(name) for name in ("job", "labels", "flag", "deploy"))


class Flagged(NamedTuple):
    """Rows of the audit file in which an entity was flagged, at most an hour apart. Times are Unix seconds."""

    start: float
    end: float
    """Of the row that closed the incident, of the last row where there is none."""
    closed: bool = True
    """Whether there is a row that closed it: a later one may otherwise belong to the same incident."""
    deploy: str = ""
    """How long after what deploy it began, "" where nothing says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditTrail:
    """What the audit file has, by job and entity, oldest first; `note` says what could not be read, or is "".

    `rows` counts those of the period; of incidents that were over before it there is nothing.
    """

    intervals: Mapping[str, Mapping[Key, Sequence[Flagged]]] = field(default_factory=dict)
    rows: int = 0
    note: str = ""


def read_audit(config: AuditConfig | None, jobs: Collection[str], period: Period) -> AuditTrail:
    """Return the incidents of `jobs` in `period`. Never raises: the note says which files or rows were left out."""
    if config is None:
        return AuditTrail()
    if not config.path.exists():
        return AuditTrail(note=f"The audit file {config.path} is not there: all below is from Prometheus alone.")
    reader = _Reader(period)
    unreadable = []
    for path in files_since(config.path, config.keep, period.start - FORGOTTEN):
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
    """Turns rows, read file after file, into incidents; counts the rows that it cannot read."""

    def __init__(self, period: Period) -> None:
        self._start, self._since, self._until = period.start, timestamp(period.start), timestamp(period.end)
        self._found: dict[tuple[str, str], list[Flagged]] = {}  # by cells of job and labels
        self.rows = self.torn = 0

    def read(self, path: Path) -> None:
        """Add the rows of a file. Raises OSError, and ValueError when the file has other columns."""
        for cells in rows_of(path):
            if len(cells) != len(COLUMNS):
                self.torn += 1
            elif cells[0] < self._until:  # times of this form sort as text
                try:
                    time, flag = datetime.fromisoformat(cells[0]).timestamp(), _FLAGS[cells[_FLAG]]
                except (ValueError, KeyError):
                    self.torn += 1
                else:
                    self.rows += cells[0] >= self._since
                    found = self._found.setdefault((cells[_JOB], cells[_LABELS]), [])
                    self._add(found, time, flag, cells[_DEPLOY])

    def _add(self, found: list[Flagged], time: float, flag: bool, deploy: str) -> None:
        before = found[-1] if found else None
        if before is None or before.closed or time - before.end > SILENT:
            if flag:
                found.append(Flagged(time, time, closed=False, deploy=deploy))
            elif before is not None and not before.closed:  # it was seen to be normal, if late
                found[-1] = before._replace(closed=True)
        else:
            found[-1] = before._replace(end=time, closed=not flag, deploy=before.deploy or deploy)
        if found and found[-1].closed and found[-1].end < self._start:
            found.clear()

    def intervals(self, jobs: Collection[str]) -> dict[str, dict[Key, list[Flagged]]]:
        """Return what was found by job and entity."""
        by_job: dict[str, dict[Key, list[Flagged]]] = {}
        for (job_cell, labels), found in self._found.items():
            job, key = decoded(job_cell, labels)
            self.torn += key is None
            if key is not None and job in jobs and found:
                by_job.setdefault(job, {})[key] = found
        return by_job
