"""What a backtest found, row by row, and the files it is written to."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detectors.types import Flags, Floats, Key
from exporter.backtest.history import Record
from exporter.config.sections.job import JobConfig
from exporter.errors import InputError

_COLUMNS = ("timestamp", "score", "flag", "severity", "alert", "expected", "lower", "upper")


@dataclass(slots=True, eq=False)
class Outcome:
    """Verdicts of one entity, arrays of shape (N,): one per row of its input.

    Parameters
    ----------
    name : str
        Of the file to write.
    key : Key
        Labels of the entity.
    stamps : sequence of str
    times : Floats
        Unix seconds.
    step : float
        Seconds between grid points.
    label : Floats or None
        1 inside an event, 0 outside, NaN in the leading history.
    score, severity, expected, lower, upper : Floats
    flag, alert : Flags
    top_channel : sequence of str or None
        Channel of `expected`, `lower` and `upper`; None where there is only one.
    speed : float
        Samples of an entity judged per second.
    channels : tuple of str, length C
    values : Floats, shape (C, N)
        Empty unless they were kept.
    """

    name: str
    key: Key
    stamps: Sequence[str]
    times: Floats
    step: float
    label: Floats | None
    score: Floats
    severity: Floats
    expected: Floats
    lower: Floats
    upper: Floats
    flag: Flags
    alert: Flags
    top_channel: Sequence[str] | None
    speed: float
    channels: tuple[str, ...]
    values: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """What a replay found: the record of a job or of a part of it, and the outcomes of its entities.

    Parameters
    ----------
    config : JobConfig
        Settings it was judged with, its share of the budget included.
    record : Record
        E entities, N columns.
    clock : Floats, shape (N,)
        Unix seconds of the columns.
    outcomes : sequence of Outcome, length E
    columns : sequence of int64 arrays, length E
        Column of each row of an outcome.
    first : int
        Column of the first cycle.
    """

    config: JobConfig
    record: Record
    clock: Floats
    outcomes: Sequence[Outcome]
    columns: Sequence[NDArray[np.int64]]
    first: int


def outcome(
    record: Record,
    row: int,
    columns: NDArray[np.int64],
    name: str,
    stamps: Sequence[str],
    times: Floats,
    step: float,
    label: Floats | None,
    speed: float,
) -> Outcome:
    """Return what `record` holds of the entity in `row`, at `columns`."""
    several = len(record.channels) > 1
    return Outcome(
        name=name,
        key=record.keys[row],
        stamps=stamps,
        times=times,
        step=step,
        label=label,
        score=record.score[row, columns],
        severity=record.severity[row, columns],
        expected=record.expected[row, columns],
        lower=record.lower[row, columns],
        upper=record.upper[row, columns],
        flag=record.flag[row, columns],
        alert=record.alert[row, columns],
        top_channel=[record.channels[at] for at in record.channel[row, columns]] if several else None,
        speed=speed,
        channels=record.channels,
        values=record.values[row][:, columns],
    )


def write(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Write `<name>.csv` for each entity into `folder`, made when it is not there. Raises InputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for each in outcomes:
            with (folder / f"{each.name}.csv").open("w", encoding="utf-8", newline="") as file:
                rows = csv.writer(file, lineterminator="\n")
                rows.writerow(_COLUMNS if each.top_channel is None else (*_COLUMNS, "channel"))
                rows.writerows(zip(*_cells(each), strict=True))
    except OSError as error:
        raise InputError(f"--out {folder}: {error.strerror}") from None


def _cells(each: Outcome) -> list[Sequence[object]]:
    cells: list[Sequence[object]] = [each.stamps, _numbers(each.score), each.flag.astype(int).tolist()]
    cells += [_numbers(each.severity), each.alert.astype(int).tolist()]
    cells += [_numbers(array) for array in (each.expected, each.lower, each.upper)]
    return cells if each.top_channel is None else [*cells, each.top_channel]


def _numbers(array: Floats) -> list[float | str]:
    """Return numbers in full, so that what is read back is equal; NaN as an empty cell."""
    return ["" if number != number else number for number in array.tolist()]  # noqa: PLR0124 - only NaN differs from itself
