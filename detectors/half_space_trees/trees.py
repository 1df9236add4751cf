"""Half-space trees for many entities at once: entities share the trees, and each has its own masses.

Source: Tan, Ting & Liu (2011), Fast Anomaly Detection for Streaming Data, doi:10.5591/978-1-57735-516-8/IJCAI11-254.
"""

from functools import cached_property, reduce
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from detectors.types import Floats

Counts = NDArray[Any]
"""Unsigned integers, as narrow as the counts allow."""
PADDING: Final = 0.15
"""Share of a range at either end that is never cut."""
SIZE_LIMIT: Final = 0.1
"""Share of all points below which the descent stops at a node."""
_WORD: Final = 64
_ROWS: Final = 256
"""Rows per block: their intermediate results stay in the processor's cache."""


class HalfSpaceTrees:
    """Perfect binary trees over the unit cube; finds the cells of many points at once.

    Parameters
    ----------
    feature : NDArray of int, shape (trees, 2**height - 1)
        Feature that each inner node cuts, breadth first.
    threshold : Floats, shape (trees, 2**height - 1)
        Value at which it cuts; smaller values go left.
    """

    def __init__(self, feature: NDArray[np.integer[Any]], threshold: Floats) -> None:
        self.feature, self.threshold = feature, threshold
        self.trees, self.leaf_count = len(feature), feature.shape[1] + 1

    @classmethod
    def grow(cls, trees: int, height: int, features: int, seed: int) -> "HalfSpaceTrees":
        """Draw trees. A node cuts the remaining range of a feature anywhere except near its ends, as in river.

        At every node position each feature is drawn equally often over the trees. With independent draws, one of five
        features can be cut so rarely near the roots that no value of it alone would ever be anomalous.
        """
        rng = np.random.default_rng(seed)
        turns = np.tile(np.arange(trees)[:, None] % features, 2**height - 1)
        feature = rng.permuted(turns, axis=0)
        threshold = rng.uniform(PADDING, 1 - PADDING, feature.shape)
        low, high = np.zeros((trees, 1, features)), np.ones((trees, 1, features))
        for depth in range(height):
            nodes = slice(2**depth - 1, 2 ** (depth + 1) - 1)
            at = feature[:, nodes, None]
            start, end = (np.take_along_axis(edge, at, 2) for edge in (low, high))
            cut = start + threshold[:, nodes, None] * (end - start)
            threshold[:, nodes] = cut[..., 0]
            low, high = low.repeat(2, 1), high.repeat(2, 1)
            np.put_along_axis(high[:, 0::2], at, cut, 2)
            np.put_along_axis(low[:, 1::2], at, cut, 2)
        return cls(feature, threshold)

    @cached_property
    def _tables(self) -> list[tuple[int, Floats, NDArray[np.uint64]]]:
        """Thresholds of each feature in order, and the leaves still possible after each of them, one bit per leaf.

        A node that sends a value right excludes the leaves on its left, and vice versa. So the leaves that a value can
        reach depend only on how many thresholds it has passed (Lucchese et al. 2015, QuickScorer,
        doi:10.1145/2766462.2767733).
        """
        words = -(-self.leaf_count // _WORD)
        height = self.leaf_count.bit_length() - 1
        leaf = np.arange(words * _WORD)
        every = _packed(leaf < self.leaf_count)
        tables = []
        for which in np.unique(self.feature):
            tree, node = np.nonzero(self.feature == which)
            order = np.argsort(self.threshold[tree, node], kind="stable")
            tree, node = tree[order], node[order]
            depth = np.frexp(node + 1.0)[1] - 1
            first = (node + 1 - 2**depth) << (height - depth)
            half = 1 << (height - depth - 1)
            inside = leaf - first[:, None]  # (thresholds, leaves): place of a leaf among those below the node
            passed = np.arange(len(order))
            left = np.broadcast_to(every, (len(order) + 1, self.trees, words)).copy()
            right = left.copy()
            left[passed + 1, tree] &= ~_packed((inside >= 0) & (inside < half[:, None]))
            right[passed, tree] &= ~_packed((inside >= half[:, None]) & (inside < 2 * half[:, None]))
            np.bitwise_and.accumulate(left, out=left)
            np.bitwise_and.accumulate(right[::-1], out=right[::-1])
            tables.append((int(which), self.threshold[tree, node], left & right))
        return tables

    def cells(self, points: Floats) -> NDArray[np.intp]:
        """Return the cell of each point in each tree as tree * leaves + leaf from the left; shape (points, trees)."""
        found = np.empty((len(points), self.trees), np.intp)
        tree = self.leaf_count * np.arange(self.trees)
        word = _WORD * np.arange(-(-self.leaf_count // _WORD))
        for first in range(0, len(points), _ROWS):
            block = points[first : first + _ROWS].T
            left = [table[np.searchsorted(cuts, block[which], side="right")] for which, cuts, table in self._tables]
            reached = reduce(np.bitwise_and, left)
            leaf = np.bitwise_count(reached - np.uint64(1))  # zeros below the one bit that is left
            inside = leaf[..., 0] if len(word) == 1 else np.where(reached > 0, leaf + word, 0).sum(axis=2)
            found[first : first + _ROWS] = inside + tree
        return found


def _packed(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Pack the last axis into 64-bit words, lowest bit first."""
    return np.packbits(bits, axis=-1, bitorder="little").view("<u8").astype(np.uint64)


def count(mass: Counts, rows: NDArray[np.intp], cells: NDArray[np.intp]) -> None:
    """Add one point per entity to the masses, in place.

    Parameters
    ----------
    mass : Counts, shape (E, trees, leaves)
        Number of points in each leaf.
    rows : NDArray of int, shape (R,)
        The entities, each at most once.
    cells : NDArray of int, shape (R, trees)
        Their points as `HalfSpaceTrees.cells` returns them.
    """
    flat, size = mass.reshape(-1), mass.shape[1] * mass.shape[2]
    for first in range(0, len(rows), _ROWS):
        block = slice(first, first + _ROWS)
        flat[cells[block] + size * rows[block, None]] += 1


def path_weights(mass: Counts, points: Counts, kind: DTypeLike) -> Counts:
    """Return for every leaf the sum of mass * 2**depth along its path, down to the first node below the size limit.

    The sum depends on the leaf alone. It is computed once per reference window, and a score is one look-up per tree.

    Parameters
    ----------
    mass : Counts, shape (E, trees, leaves)
        Points that fell into each leaf.
    points : Counts, shape (E,)
        Number of points of each entity.
    kind : DTypeLike
        Unsigned integer that holds the largest sum, (2 * leaves - 1) * points.
    """
    limit = np.ceil(SIZE_LIMIT * points).astype(kind)[:, None, None]
    levels = [mass.astype(kind)]
    while levels[-1].shape[2] > 1:
        levels.append(levels[-1][..., 0::2] + levels[-1][..., 1::2])
    weight = levels.pop()
    should_continue = weight >= limit
    for depth in range(1, len(levels) + 1):
        node = levels.pop()
        should_continue = should_continue.repeat(2, axis=2)
        weight = weight.repeat(2, axis=2) + (node << depth) * should_continue
        should_continue &= node >= limit
    return weight


def totals(weights: Counts, cells: NDArray[np.intp]) -> Floats:
    """Return the sum of `path_weights` over the trees; low is anomalous.

    The score of the paper's implementations is 1 - total / (trees * window * (2 * leaves - 1)).

    Parameters
    ----------
    weights : Counts, shape (E, trees, leaves)
        As `path_weights` returns them.
    cells : NDArray of int, shape (E, trees)
        The newest point of each entity, as `HalfSpaceTrees.cells` returns it.

    Returns
    -------
    total : Floats, shape (E,)
        At least 0.
    """
    flat, size = weights.reshape(-1), weights.shape[1] * weights.shape[2]
    total = np.empty(len(weights))
    for first in range(0, len(weights), _ROWS):
        block = slice(first, first + _ROWS)
        entity = size * np.arange(first, min(first + _ROWS, len(weights)))
        total[block] = flat[cells[block] + entity[:, None]].sum(axis=1)
    return total
