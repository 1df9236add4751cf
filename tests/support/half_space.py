"""Half-space trees of a river model as ours, and both timed side by side."""

from time import perf_counter

import numpy as np
from river.anomaly import HalfSpaceTrees as RiverTrees

from detectors import Floats
from detectors.half_space_trees.trees import HalfSpaceTrees, count, path_weights, totals


def trees_of(model: RiverTrees) -> HalfSpaceTrees:
    """Take over the splits of a river model that has learnt its first sample; features in the order of their names."""
    feature, threshold = [], []
    for root in model.trees:
        branches, level = [], [root]
        for _ in range(model.height):
            branches += level
            level = [child for branch in level for child in branch.children]
        feature.append([branch.feature for branch in branches])
        threshold.append([branch.threshold for branch in branches])
    return HalfSpaceTrees(np.unique(feature, return_inverse=True)[1].reshape(len(feature), -1), np.array(threshold))


class Streams:
    """Many entities with river's trees, scored as river's `score_one` and learnt as its `learn_one`."""

    def __init__(self, model: RiverTrees, entities: int) -> None:
        self.trees, self.window = trees_of(model), model.window_size
        self.mass = np.zeros((entities, self.trees.trees, self.trees.leaf_count), np.min_scalar_type(self.window))
        self.largest = self.window * (2 * self.trees.leaf_count - 1)
        self.weights = np.zeros(self.mass.shape, np.min_scalar_type(self.largest))
        self.rows, self.seen = np.arange(entities), 0

    def step(self, points: Floats) -> Floats:
        """Return the scores of the next point of every entity, shape (E, features), and learn it."""
        cells = self.trees.cells(points)
        score = 1.0 - totals(self.weights, cells) / (self.trees.trees * self.largest)
        if self.seen < self.window:
            score[:] = 0.0  # as river says before its first window is full
        count(self.mass, self.rows, cells)
        self.seen += 1
        if self.seen % self.window == 0:
            for row in range(0, len(self.mass), 256):
                block = slice(row, row + 256)
                points_in = np.full(len(self.mass[block]), self.window)
                self.weights[block] = path_weights(self.mass[block], points_in, self.weights.dtype)
            self.mass[:] = 0
        return score


def against_river(entities: int = 1000, trees: int = 25, height: int = 6, window: int = 50) -> dict:
    """Score and learn the same points with river and with ours, on river's trees.

    Of river's models only a twentieth is run, since they cost the same each. Timed are two windows after the first one,
    so that the turn from one window to the next is among the steps of both.

    Returns
    -------
    dict
        `ours`, `other`: seconds per entity and sample; `value`: how many times faster ours is; `quality`: the largest
        difference between the scores, which is the oracle's verdict (0 is the same).
    """
    rng, judged = np.random.default_rng(0), 2 * window
    points = np.clip(rng.normal(0.5, 0.08, (window + judged, entities, 1)), 0.0, 1.0)
    models = [RiverTrees(trees, height, window, seed=1) for _ in range(max(entities // 20, 1))]
    named = [[{"x": float(value)} for value in step[: len(models), 0]] for step in points]
    theirs, other = [], 0.0
    for number, step in enumerate(named):
        begun = perf_counter()
        scores = [model.score_one(point) for model, point in zip(models, step, strict=True)]
        for model, point in zip(models, step, strict=True):
            model.learn_one(point)
        other += (perf_counter() - begun) * (number >= window)
        theirs.append(scores)
    streams, found, ours = Streams(models[0], entities), [], 0.0
    for number, step in enumerate(points):
        begun = perf_counter()
        scores = streams.step(step)
        ours += (perf_counter() - begun) * (number >= window)
        found.append(scores[: len(models)])
    ours, other = ours / judged / entities, other / judged / len(models)
    return {
        "ours": ours,
        "other": other,
        "value": other / ours,
        "quality": float(np.abs(np.array(found) - np.array(theirs)).max()),
    }
