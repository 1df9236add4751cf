"""Reading labelled series from CSV files, one entity each."""

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

import numpy as np

from detectors.types import Floats
from exporter.config.values import moment
from exporter.errors import InputError

TIMESTAMP: Final = "timestamp"
LABEL: Final = "label"
_SUFFIXES: Final = (".csv", ".csv.gz")
_MISSING: Final = frozenset({"", "nan", "null", "none", "na"})


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One entity: the N rows of its file.

    Parameters
    ----------
    name : str
        Name of the file without `.csv` and `.csv.gz`.
    stamps : sequence of str, length N
        Timestamps as the file has them.
    times : Floats, shape (N,)
        Unix seconds, in the order of the rows.
    channels : tuple of str, length C
    values : Floats, shape (C, N)
        NaN where a cell is empty or infinite.
    label : Floats, shape (N,), or None
        1 inside an event, 0 outside, NaN in the leading history; None where there are no labels.
    """

    name: str
    stamps: Sequence[str]
    times: Floats
    channels: tuple[str, ...]
    values: Floats
    label: Floats | None


def read_folder(path: Path) -> list[Series]:
    """Read one file, or every `.csv` and `.csv.gz` of a folder in the order of their names. Raises InputError."""
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    files = [file for file in files if file.name.endswith(_SUFFIXES)]
    if not files:
        raise InputError(f"{path}: no .csv or .csv.gz file here")
    every: dict[str, Series] = {}
    for file in files:
        series = read_file(file)
        if series.name in every:
            raise InputError(f"{file}: there is a second file of the entity {series.name!r}; remove one")
        every[series.name] = series
    return list(every.values())


def read_file(path: Path) -> Series:
    """Read one file. Raises InputError that names the file, and the line and column where there is one."""
    with _opened(path) as text:
        reader = csv.reader(text)
        header = [name.strip() for name in next(reader, [])]
        if TIMESTAMP not in header:
            found = ", ".join(map(_shown, header[:8])) or "nothing"
            raise InputError(f"{path}: no column {TIMESTAMP!r} in the first line; found {found}")
        if repeated := {name for name in header if header.count(name) > 1}:
            raise InputError(f"{path}: the column {_shown(min(repeated))} is there twice")
        channels = tuple(name for name in header if name not in {TIMESTAMP, LABEL})
        if not channels:
            raise InputError(f"{path}: no channel, only {' and '.join(header[:2])}; one column of values is needed")
        rows = []
        for row in filter(None, reader):
            if len(row) != len(header):
                wanted = f"{len(row)} cells where the first line has {len(header)}"
                raise InputError(f"{path}:{reader.line_num}: {wanted}")
            rows.append(row)
    if not rows:
        raise InputError(f"{path}: no rows after the first line")
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    values = np.array([_numbers(path, name, columns[name]) for name in channels])
    values[np.isinf(values)] = np.nan
    label = _labels(path, columns[LABEL]) if LABEL in columns else None
    name = path.name.removesuffix(".gz").removesuffix(".csv")
    return Series(name, columns[TIMESTAMP], _times(path, columns[TIMESTAMP]), channels, values, label)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        opened = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8-sig", newline="") as text:
            yield text
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(f"{path}: no whole gzip file; is it cut off?") from None
    except csv.Error as error:
        raise InputError(f"{path}: no CSV: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


def _numbers(path: Path, column: str, cells: Sequence[str]) -> Floats:
    try:
        return np.array(list(map(float, cells)))
    except ValueError:
        numbers = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        if cell.strip().lower() not in _MISSING:
            try:
                numbers[row] = float(cell)
            except ValueError:
                raise _wrong(path, row, column, cell, "a number, or nothing where there is no sample") from None
    return numbers


def _labels(path: Path, cells: Sequence[str]) -> Floats:
    label = _numbers(path, LABEL, cells)
    wrong = np.flatnonzero(~np.isnan(label) & (label != 0) & (label != 1)).tolist()
    if wrong:
        wanted = "1 inside an event, 0 outside, nothing in the leading history"
        raise _wrong(path, wrong[0], LABEL, cells[wrong[0]], wanted)
    return label


def _times(path: Path, cells: Sequence[str]) -> Floats:
    times = np.empty(len(cells))
    for row, cell in enumerate(cells):
        try:
            times[row] = moment(cell)
        except ValueError:
            wanted = "a time: ISO 8601, or Unix seconds (not milliseconds)"
            raise _wrong(path, row, TIMESTAMP, cell, wanted) from None
    return times


def _wrong(path: Path, row: int, column: str, cell: str, wanted: str) -> InputError:
    return InputError(f"{path}:{row + 2}: column {_shown(column)}: {_shown(cell)} is not {wanted}")


def _shown(cell: str) -> str:
    return repr(cell) if len(cell) <= 40 else f"{cell[:40]!r}…"
