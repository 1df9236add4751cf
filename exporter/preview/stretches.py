"""The parts of a tape in which anything can happen: a series at rest needs no deciding."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.types import Flags
from exporter.config.sections.job import JobConfig
from exporter.preview.tape import Tape
from exporter.web.ui.graphs import runs_of

_MARGIN: Final = 3
"""Samples more than it takes to come to rest: times may not be whole numbers."""


@dataclass(frozen=True, slots=True, eq=False)
class Stretches:
    """S parts of rows of a tape, the longest (L columns) first, each from rest to rest whatever is decided.

    Parameters
    ----------
    entity, start, length : int64 arrays, shape (S,)
        Row, first column and number of columns of each.
    since : int64 array, shape (S,)
        Column in which its entity joined the job.
    """

    entity: NDArray[np.int64]
    start: NDArray[np.int64]
    length: NDArray[np.int64]
    since: NDArray[np.int64]

    @classmethod
    def of(cls, tape: Tape, warm: Flags, job: JobConfig) -> "Stretches":
        """Return the stretches of a tape.

        Parameters
        ----------
        tape : Tape
        warm : Flags, shape (N, E)
            Scores that may keep an incident open, whatever counts of them.
        job : JobConfig
            Says how long it takes to come to rest.
        """
        rest = math.ceil(job.clear_after / job.step) + math.ceil(job.flap_window / job.step) + _MARGIN
        known = ~np.isnan(tape["score"])
        found = [
            (entity, first, last, joined)
            for entity in range(len(tape.keys))
            for joined, gone in runs_of(tape["there"][:, entity])
            for first, last in _parts(warm[joined:gone, entity], known[joined:gone, entity], joined, rest)
        ]
        table = np.array(found, np.int64).reshape(-1, 4)
        table = table[np.argsort(table[:, 1] - table[:, 2], kind="stable")]
        entity, start, end, since = table.T
        length = end - start
        return cls(entity, start, length, since)

    @property
    def longest(self) -> int:
        """Columns of the longest one, L."""
        return int(self.length[0]) if len(self.length) else 0

    def of_tape(self, array: NDArray[Any], fill: float = 0.0) -> NDArray[Any]:
        """Return the samples of an array of the tape, shape (N, E), as (L, S); `fill` where a stretch is over."""
        found = np.full((self.longest, len(self.entity)), fill, array.dtype)
        for at, (entity, start, length) in enumerate(zip(self.entity, self.start, self.length, strict=True)):
            found[:length, at] = array[start : start + length, entity]
        return found

    def positions(
        self, columns: NDArray[np.intp], entities: NDArray[np.intp], shape: tuple[int, ...]
    ) -> NDArray[np.int64]:
        """Return where samples of the tape (of that shape) are in the flat array of the stretches; all are in one."""
        where = np.full(shape, -1, np.int64)
        for at, (entity, start, length) in enumerate(zip(self.entity, self.start, self.length, strict=True)):
            where[start : start + length, entity] = np.arange(length) * len(self.entity) + at
        return where[columns, entities]


def _parts(warm: Flags, known: Flags, first: int, rest: int) -> Iterator[tuple[int, int]]:
    """Yield the columns from a warm score to the end of the rest that follows the last one."""
    at = np.flatnonzero(warm)
    if not len(at):
        return
    calm = np.cumsum(known & ~warm)
    parted = np.flatnonzero(np.diff(calm[at]) >= rest)
    for start, last in zip(np.append(0, parted + 1), np.append(parted, len(at) - 1), strict=True):
        end = int(np.searchsorted(calm, calm[at[last]] + rest)) + 1
        yield first + int(at[start]), first + min(end, len(warm))
