"""How much of its group was in trouble with each incident of a tape: `GroupScorer.shared`, for all samples at once."""

from collections.abc import Sequence

import numpy as np

from detectors.types import Flags, Floats, Key
from exporter.pipeline.chance import share_in_trouble
from exporter.pipeline.group_score import grouped
from exporter.preview.incidents import Opened


class InTrouble:
    """The groups of a tape.

    Parameters
    ----------
    keys : sequence of Key, length E
    there : Flags, shape (N, E)
        Which entities there were at each time.
    labels : sequence of str
        Labels whose values make a group; none: no entity has one.
    """

    def __init__(self, keys: Sequence[Key], there: Flags, labels: Sequence[str]) -> None:
        self._there, self._labels = there, labels
        names, self._group_of = grouped(keys, labels)
        self._groups = len(names)

    def along(self, opened: Opened) -> Floats:
        """Return the largest share of the others that were open since an incident began, shape (M,)."""
        share: Floats = np.zeros(len(opened.column), np.float32)
        if not self._labels or not len(share):
            return share
        incident = np.repeat(np.arange(len(opened.first)), np.diff(opened.at))
        group = self._group_of[opened.entity][incident]
        place, which, count = np.unique(
            opened.column * self._groups + group, return_inverse=True, return_counts=True
        )  # fmt: skip
        column, of = np.divmod(place, self._groups)
        share[:] = share_in_trouble(count.astype(np.float64), self._sizes(column, of))[which]
        # The number of each share among all: whole numbers, so that the largest so far is the same to the bit.
        values, number = np.unique(share, return_inverse=True)
        ahead = incident * len(values)
        found: Floats = values[np.maximum.accumulate(number + ahead) - ahead]
        return found

    def _sizes(self, column: np.ndarray, group: np.ndarray) -> Floats:
        """Return how many entities a group had in a column, for pairs of them in ascending order of columns."""
        order = np.argsort(self._group_of, kind="stable")
        begins = np.searchsorted(self._group_of[order], np.arange(self._groups))
        columns, row = np.unique(column, return_inverse=True)
        sizes = np.add.reduceat(self._there[columns][:, order], begins, axis=1, dtype=np.int64)
        found: Floats = sizes[row, group].astype(np.float64)
        return found
