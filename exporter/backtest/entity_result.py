"""The verdicts of a backtest by entity, and the CSV files they are written to."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.types import Flags, Floats, Key
from exporter.backtest.history import VerdictHistory
from exporter.config.sections.job import JobConfig
from exporter.errors import InputError

_COLUMNS: Final = ("timestamp", "score", "flag", "severity", "alert", "expected", "lower", "upper")


@dataclass(slots=True, eq=False)
class EntityResult:
    """Verdicts of one entity: a row of a history, at the columns of the entity's own N rows of input.

    Parameters
    ----------
    history : VerdictHistory
    row : int
        Row of the entity in the history.
    columns : int64 array, shape (N,)
        Column in the history of each row of the input.
    name : str
        Of the file to write.
    stamps : sequence of str, length N
        Timestamps as they are written.
    times : Floats, shape (N,)
        Unix seconds.
    label : Floats, shape (N,), or None
        1 inside an event, 0 outside, NaN in the leading history; None where there are no labels.
    speed : float
        Samples of an entity evaluated per second.
    """

    history: VerdictHistory
    row: int
    columns: NDArray[np.int64]
    name: str
    stamps: Sequence[str]
    times: Floats
    label: Floats | None
    speed: float

    @property
    def key(self) -> Key:
        """Labels of the entity."""
        return self.history.keys[self.row]

    @property
    def step(self) -> float:
        """Seconds between grid points."""
        return self.history.step

    @property
    def flag(self) -> Flags:
        """Whether an incident is open, shape (N,)."""
        return np.asarray(self.history.flag[self.row, self.columns])

    @property
    def alert(self) -> Flags:
        """Whether the incident is an alert, shape (N,)."""
        return np.asarray(self.history.alert[self.row, self.columns])

    def numbers(self, field: str) -> Floats:
        """Return score, severity, expected, lower, upper or deviation, shape (N,)."""
        return np.asarray(getattr(self.history, field)[self.row, self.columns])

    @property
    def score(self) -> Floats:
        """Scores, shape (N,)."""
        return self.numbers("score")

    @property
    def values(self) -> Floats:
        """Values, shape (C, N)."""
        return np.asarray(self.history.values[self.row][:, self.columns])

    @property
    def top_channel(self) -> Sequence[str] | None:
        """Channel of expected, lower and upper in each row; None where there is only one channel."""
        channels = self.history.channels
        return [channels[at] for at in self.history.channel[self.row, self.columns]] if len(channels) > 1 else None


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """The replay of a job, or of a part of it.

    Parameters
    ----------
    config : JobConfig
        Settings it was evaluated with, its share of the budget included.
    history : VerdictHistory
        E entities, N columns.
    results : sequence of EntityResult, length E
        In the order of the rows.
    first : int
        Column of the first cycle.
    """

    config: JobConfig
    history: VerdictHistory
    results: Sequence[EntityResult]
    first: int


def write(results: Sequence[EntityResult], folder: Path) -> None:
    """Write `<name>.csv` for each entity into `folder`, made when it is not there. Raises InputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for each in results:
            top_channel = each.top_channel
            with (folder / f"{each.name}.csv").open("w", encoding="utf-8", newline="") as file:
                rows = csv.writer(file, lineterminator="\n")
                rows.writerow(_COLUMNS if top_channel is None else (*_COLUMNS, "channel"))
                rows.writerows(zip(*_cells(each, top_channel), strict=True))
    except OSError as error:
        raise InputError(f"--out {folder}: {error.strerror}") from None


def _cells(each: EntityResult, top_channel: Sequence[str] | None) -> list[Sequence[object]]:
    cells: list[Sequence[object]] = [each.stamps, _numbers(each.score), each.flag.astype(int).tolist()]
    cells += [_numbers(each.numbers("severity")), each.alert.astype(int).tolist()]
    lower, upper = each.numbers("lower"), each.numbers("upper")
    cells.append(_numbers(each.numbers("expected")))
    # Where nothing is anomalous on one side, the band has no limit there; NaN on both sides is no band.
    cells.append(_numbers(np.where(np.isnan(lower) & np.isfinite(upper), -np.inf, lower)))
    cells.append(_numbers(np.where(np.isnan(upper) & np.isfinite(lower), np.inf, upper)))
    return cells if top_channel is None else [*cells, top_channel]


def _numbers(array: Floats) -> list[float | str]:
    """Return numbers in full, so that what is read back is equal; NaN as an empty cell."""
    return ["" if number != number else number for number in array.tolist()]  # noqa: PLR0124 - only NaN differs from itself
