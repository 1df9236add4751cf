"""Reads the audit file and the files rotated from it."""

import csv
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from detectors.types import Key
from exporter.json_values import from_json
from exporter.sinks.audit_rows import COLUMNS, EARLIER, HEADER

SILENT: Final = 3600.0
"""Seconds without a row after which nobody knows whether an incident went on: the exporter did not run."""


def files_since(path: Path, keep: int, start: float) -> list[Path]:
    """Return the files that were written to after `start`, oldest first."""
    files = []
    for file in (*(path.with_name(f"{path.name}.{number}") for number in range(keep, 0, -1)), path):
        with suppress(OSError):
            if file.stat().st_mtime >= start:
                files.append(file)
    return files


def rows_of(path: Path) -> Iterator[list[str]]:
    """Yield the cells of each line, none for a torn line. Raises OSError, and ValueError for other columns.

    Rows of an earlier version get empty cells for the columns that it did not have.
    """
    with path.open("rb") as file:
        head = file.readline(len(HEADER) + 1)
        if head and head != HEADER and head not in EARLIER:
            raise ValueError("other columns")
        count = EARLIER.get(head, len(COLUMNS))
        for line in file:
            if not line.endswith(b"\n"):
                yield []  # torn by a kill or a full disk; the exporter repairs the line when it writes next
                return
            try:
                cells = next(csv.reader([line.decode("utf-8", "replace")]), [])
                yield cells + [""] * (len(COLUMNS) - count) if len(cells) == count else []
            except csv.Error:
                yield []


def decoded(job: str, labels: str) -> tuple[str, Key | None]:
    """Return a job and the identity of an entity as their cells have them, None for what is no identity."""
    try:
        found = from_json(labels)
        return from_json(f'"{job}"'), tuple(sorted((str(name), str(value)) for name, value in found.items()))
    except (ValueError, AttributeError):
        return job, None
