"""The incidents of the past as the audit file has them: for our page where no `state` folder keeps them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import structlog

from detectors.units import WEEK
from exporter.config.sections.service import AuditConfig
from exporter.json_values import finite
from exporter.query_units import Unit
from exporter.sinks.audit_files import SILENT, decoded, files_since, rows_of
from exporter.sinks.audit_rows import COLUMNS, streams_of_cell
from exporter.sinks.notify.notification import Channel, Incident

log = structlog.get_logger()

REACH: Final = 13 * WEEK
"""Seconds that are looked back."""
MOST_BYTES: Final = 128 * 2**20
"""Bytes of audit files that are read, the newest files: a few seconds in a thread of its own."""
_AT: Final = {name: at for at, name in enumerate(COLUMNS)}
_FIGURES: Final = ("value", "expected", "lower", "upper", "contribution")


class _Reader:
    """Turns rows into incidents; those of one entity come in the order of time, the channels of a sample together."""

    def __init__(self, units: Mapping[str, Mapping[str, Unit]], until: float) -> None:
        self._units, self._until = units, until
        self._open: dict[tuple[str, str], Incident] = {}
        self._newest: dict[tuple[str, str], float] = {}
        self.found: list[tuple[Incident, bool]] = []
        """Incidents, and whether a row says that they have ended."""

    def row(self, cells: list[str]) -> None:
        """Take one row. Raises ValueError for a row that is torn or strange."""
        if len(cells) != len(COLUMNS):
            raise ValueError("torn")
        time = datetime.fromisoformat(cells[0]).timestamp()
        if time >= self._until:
            return
        name, flag = (cells[_AT["job"]], cells[_AT["labels"]]), cells[_AT["flag"]] == "1"
        if name in self._open and time - self._newest[name] > SILENT:
            self._end(name, self._newest[name], seen=False)
        if not flag:
            if name in self._open:
                score = _number(cells[_AT["score"]])
                self._end(name, time, seen=True, adopted=score is not None and score > 1)
            return
        if name not in self._open:
            job, key = decoded(*name)
            if key is None:
                raise ValueError("strange labels")
            self._open[name] = Incident(job, dict(key), time, None, None, [])
        self._newest[name] = time
        self._reading(self._open[name], cells, time)

    def _reading(self, incident: Incident, cells: list[str], time: float) -> None:
        score, channel = _number(cells[_AT["score"]]), cells[_AT["channel"]]
        if score is None:
            return
        if incident.at != time:
            if incident.score is not None and incident.score >= score:
                return
            incident.at, incident.score, incident.channels = time, score, []
            incident.streams = streams_of_cell(cells[_AT["streams"]])
        unit = self._units.get(incident.job, {}).get(channel, "")
        value, expected, lower, upper, share = (_number(cells[_AT[name]]) for name in _FIGURES)
        read = [*incident.channels, Channel(channel, value, expected, lower, upper, share, unit)]
        incident.channels = sorted(read, key=lambda each: -(each.contribution or 0.0))
        incident.of_channels = max(incident.of_channels, len(read))

    def _end(self, name: tuple[str, str], time: float, seen: bool, adopted: bool = False) -> None:
        incident = self._open.pop(name)
        incident.end(time, "adopted" if adopted else "recovered")
        self.found.append((incident, seen))

    def close(self) -> None:
        """End what no row has ended."""
        for name in list(self._open):
            self._end(name, self._newest[name], seen=False)


def incidents_of_audit(
    config: AuditConfig, units: Mapping[str, Mapping[str, Unit]], now: float
) -> list[tuple[Incident, bool]]:
    """Return the incidents that the audit file tells of before `now`, and of each whether its end was seen.

    Whether an incident was an alert is not in the file. Never raises: what cannot be read is logged and left out.
    """
    reader, strange, size = _Reader(units, now), 0, 0
    files = files_since(config.path, config.keep, now - REACH)
    for at, path in enumerate(reversed(files)):
        size += path.stat().st_size if path.exists() else 0
        if size > MOST_BYTES:
            files = files[len(files) - max(at, 1) :]
            break
    for path in files:
        try:
            for cells in rows_of(path):
                try:
                    reader.row(cells)
                except ValueError:
                    strange += 1
        except (OSError, ValueError) as error:
            log.warning("audit_not_read", file=str(path), error=str(error), hint="the page does not list its incidents")
    reader.close()
    if strange:
        log.warning("audit_rows_left_out", rows=strange, hint="torn or strange rows; the page lists the others")
    return reader.found


def _number(cell: str) -> float | None:
    try:
        return finite(float(cell)) if cell else None
    except ValueError:
        return None
