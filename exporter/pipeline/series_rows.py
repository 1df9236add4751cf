"""Which row of a window the samples of each series belong into, and which of several series of one entity counts."""

from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.types import Floats

LABELS: Final = msgspec.json.Decoder(dict[str, str])
UNKNOWN: Final = -1
"""Row of a series that had no sample yet, or none for so long that it was forgotten."""
FOREIGN: Final = -2
"""Row of a series that another replica judges."""


@dataclass(frozen=True, slots=True, eq=False)
class SeriesRows:
    """The series of a channel's last answer and where their samples belong.

    Parameters
    ----------
    labels : list of bytes, length S
    rows : int64 array, shape (S,)
        Row of each series' entity, negative for those left out.
    shared : int64 array
        The series that share an entity with another one, those first whose samples the others overwrite.
    """

    labels: list[bytes]
    rows: NDArray[np.int64]
    shared: NDArray[np.int64]

    @classmethod
    def of(cls, labels: list[bytes], rows: NDArray[np.int64]) -> "SeriesRows":
        """Put in order the series that share an entity, most often none."""
        rank = np.argsort(rows, kind="stable")
        same = np.diff(rows[rank]) == 0
        several = np.append(same, False) | np.insert(same, 0, False) if len(rows) else np.zeros(0, np.bool_)
        shared = [at for at in rank[several].tolist() if rows[at] >= 0]
        # By the labels themselves, so that neither their order in the text nor who came first decides: a chunk, a
        # restart or another replica sees the same.
        shared.sort(key=lambda at: (sorted(LABELS.decode(labels[at]).items()), labels[at]), reverse=True)
        return cls(labels, rows, np.array(shared, np.int64))

    def write(self, target: Floats, values: Floats) -> int:
        """Write the samples, shape (S, columns), into `target`, shape (E, columns), which holds none yet.

        Where several series of an entity have a sample at one time, the first in the order of their labels counts.
        Returns how many series were left out for that, at most at one time.
        """
        if not len(self.shared):
            mine = self.rows >= 0
            target[self.rows[mine]] = values[mine]
            return 0
        alone = self.rows >= 0
        alone[self.shared] = False
        target[self.rows[alone]] = values[alone]
        left_out = np.zeros(values.shape[1], np.int64)
        for at in self.shared.tolist():
            row, there = target[self.rows[at]], np.isfinite(values[at])
            left_out += there & np.isfinite(row)
            np.copyto(row, values[at], where=there)
        return int(left_out.max(initial=0))

    def renumbered(self, new_row: NDArray[np.int64]) -> "SeriesRows":
        """Return the same series where entities have other rows: `new_row[row]`, negative for those that are gone."""
        rows = new_row[self.rows]
        return SeriesRows(self.labels, rows, self.shared[rows[self.shared] >= 0])
