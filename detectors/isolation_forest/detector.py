"""Isolation forest: in closed form for one channel, pooled over all entities of a job for several."""

import io
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Annotated, Any, Final, Self

import numpy as np
from pydantic import Field

from detectors.isolation_forest.closed_form import average_path, isolation_path
from detectors.rolling_baseline import Baseline, Level, median_and_scale
from detectors.stateful import StatefulDetector
from detectors.streams import of_deviation
from detectors.types import Batch, Flags, Floats, Judgement, State

CLIP: Final = 30.0
"""Deviations are clipped here, so that one huge value does not take every split."""
FEATURES_PER_CHANNEL: Final = 4
RECENT: Final = 5
"""Number of newest samples behind the features of the recent past."""
LASTING: Final = 4.0
"""Mean deviation of the recent samples that marks an outage; noise hardly ever reaches it."""
MOST_OUTAGE: Final = 0.2
"""If more than this share of the training windows look like outages, they are taken as normal for the series."""
LEAST_ROWS: Final = 30
"""Smallest number of training windows for a threshold."""


@dataclass(kw_only=True)
class IsolationForestDetector(StatefulDetector):
    """Measures how easily random cuts isolate the newest sample.

    One channel: the newest sample is compared with those of its own window, in closed form (module `closed_form`).
    Several channels: scikit-learn's forest, one for all entities of the job. Every entity is scaled by its own median
    and spread, so that one forest fits all; per channel it sees the newest deviation, its change, and mean and range of
    the last five. While an incident is open, samples of the level before it take the window's place.

    With P the mean path length and P* the one at the `contamination` quantile of the training windows, the score is
    (P* - 1) / (P - 1). It has the order of the usual score and exceeds 1 exactly where that exceeds its threshold. It
    grows without bound with the distance, because the shortest possible path is 1.
    Source: Liu, Ting & Zhou (2008), Isolation Forest, doi:10.1109/ICDM.2008.17.
    """

    window: Annotated[int, Field(ge=2, description="samples looked at; default: the job's window")] = 60
    contamination: Annotated[float, Field(gt=0, le=0.5, description="share of the training samples beyond score 1")] = (
        0.003
    )
    trees: Annotated[int, Field(ge=1, le=2000, description="trees in the forest")] = 100
    min_samples: Annotated[int, Field(ge=2, description="samples before the first score, at most half the window")] = 10
    max_rows: Annotated[int, Field(ge=100, description="training rows drawn from the history")] = 20_000
    seed: Annotated[int, Field(ge=0, description="seed of the draws, for repeatable models")] = 0

    _baseline: Baseline = field(init=False, repr=False)
    _forest: Any = field(init=False, repr=False, default=None)  # an IsolationForest; fit() imports it
    _paths: Any = field(init=False, repr=False, default=())  # each tree with the path length to its nodes
    _threshold: float = field(init=False, repr=False, default=float("nan"))  # P* - 1
    _half_width: float = field(init=False, repr=False, default=float("nan"))  # half width of the band, in deviations

    def __post_init__(self) -> None:
        self._baseline = Baseline(self.window, self.min_samples)

    def fit(self, history: Batch) -> Self:
        """Learn the threshold, and for several channels the forest, from windows of `history`.

        Raises ValueError when there are fewer than 30 usable windows.
        """
        windows = self._training_windows(history)
        if len(history.channels) == 1:
            paths = [isolation_path(window[:, 0]) for window in windows]
            excess = np.concatenate([np.empty(0), *paths]) - 1
        else:
            from sklearn.ensemble import IsolationForest  # takes seconds: imported only where a forest is used

            scaled = [_features(window, *median_and_scale(window[:, :, :-1])[:2]) for window in windows]
            rows = np.concatenate([np.empty((0, FEATURES_PER_CHANNEL * len(history.channels))), *scaled])
            rows = _without_outages(rows[np.isfinite(rows).all(axis=1)])
            if len(rows) >= LEAST_ROWS:
                self._grown(IsolationForest(n_estimators=self.trees, random_state=self.seed, n_jobs=1).fit(rows))
                excess = self._forest_path(rows) - 1
            else:
                excess = np.full(len(rows), np.nan)
        excess = excess[np.isfinite(excess)]
        if len(excess) < LEAST_ROWS:
            raise ValueError(f"{len(excess)} usable windows in the history, the forest needs {LEAST_ROWS}")
        self._threshold = float(np.quantile(excess, self.contamination))
        self._half_width = _half_width(self.window, self._threshold)
        return self

    def _training_windows(self, history: Batch) -> list[Floats]:
        """Return at most `max_rows` windows at random entities and times, as arrays of shape (n, C, T)."""
        entities, _, samples = history.values.shape
        least = min(self.min_samples, max(self.window // 2, 1))
        ends = np.arange(least + 1, samples + 1)
        if not len(ends) or not entities:
            return []
        draw = np.random.default_rng(self.seed).permutation(entities * len(ends))[: self.max_rows]
        windows = []
        for which, end in enumerate(ends):  # one pass per time, over all entities drawn for it
            window = history.values[draw[draw % len(ends) == which] // len(ends), :, max(end - self.window, 0) : end]
            there = np.isfinite(window)
            ready = there[:, :, -1].all(axis=1) & (there[:, :, :-1].sum(axis=2) >= least).all(axis=1)
            windows.append(window[ready])
        return windows

    def prepare(self, coming: Batch) -> None:
        """Compute the level that the newest samples will be compared with."""
        self._baseline.prepare(coming)

    def score(self, batch: Batch) -> Judgement:
        """Score the newest sample of each entity; NaN for all until the threshold is learnt."""
        level = self._baseline.level(batch)
        newest = batch.values[:, :, -1]
        if len(batch.channels) == 1:
            excess = self._own_path(batch, level) - 1
        else:
            features = _features(batch.values[:, :, -self.window :], level.center, level.scale)
            excess = np.full(len(batch.keys), np.nan)
            ready = np.isfinite(features).all(axis=1)
            if self._forest is not None and ready.any():
                excess[ready] = self._forest_path(features[ready]) - 1
        with np.errstate(over="ignore", invalid="ignore"):
            deviation = np.abs(newest - level.center) / level.scale
            half = self._half_width * level.scale
            lower, upper = level.center - half, level.center + half
            share = deviation / np.nansum(deviation, axis=1, keepdims=True)
        score = self._threshold / np.maximum(excess, 1e-9)
        contribution = np.where(np.isfinite(share), share, 0.0)
        streams = of_deviation(score, level.deviation(newest))
        return Judgement(score, level.center, lower, upper, contribution, streams=streams)

    def _own_path(self, batch: Batch, level: Level) -> Floats:
        """Return the path length, shape (E,), of each entity's newest sample among its own normal ones."""
        values, rows, normal = self._baseline.without_incidents(batch)
        samples, of_rows = values[:, 0], normal[:, 0]  # each ends with the newest
        path = isolation_path(samples)
        path[rows] = isolation_path(of_rows)
        known = np.isfinite(level.center[:, 0]) & np.isfinite(batch.values[:, 0, -1])
        # Where an incident fills the window, the sample is compared with as many samples of the level before it.
        few = np.flatnonzero(known & (level.count[:, 0] < self._baseline.min_samples))
        if len(few):
            usual = level.center[few] + level.scale[few] * _normal_quantiles(self.window - 1)
            path[few] = isolation_path(np.concatenate([usual, batch.values[few, 0, -1:]], axis=1))
        return np.where(known, path, np.nan)

    def _forest_path(self, rows: Floats) -> Floats:
        """Return the mean path length of feature rows, shape (N,), in the pooled forest.

        The value is that of scikit-learn's score_samples(), which checks its input for every tree: 5 ms for one row.
        """
        checked = rows.astype(np.float32, order="C")
        return np.asarray(sum(lengths[tree.apply(checked)] for tree, lengths in self._paths) / len(self._paths))

    def _grown(self, forest: Any) -> None:
        self._forest = forest
        self._paths = [(each.tree_, _path_lengths(each.tree_)) for each in forest.estimators_]

    def update(self, fresh: Batch, frozen: Flags, rebaselined: Flags) -> None:
        """Update the levels of entities without an incident. Only `fit` changes threshold and forest."""
        self._baseline.update(fresh, frozen, rebaselined)

    def state(self) -> State:
        """Return threshold, band, levels and the forest as joblib bytes; empty before anything was learnt."""
        state = self._baseline.state()
        if np.isfinite(self._threshold):
            state |= {"line": np.array(self._threshold), "half_width": np.array(self._half_width)}
        if self._forest is not None:
            import joblib  # imports scikit-learn, see fit()

            buffer = io.BytesIO()
            joblib.dump(self._forest, buffer)
            state["forest"] = np.frombuffer(buffer.getvalue(), np.uint8)
        return state

    def restore(self, state: State) -> Self:
        """Load what `state()` returned.

        The forest is unpickled, which can run code: the caller must have checked where the bytes come from.
        Raises ValueError when the state belongs to another detector.
        """
        rest = dict(state)
        forest, threshold, half_width = (rest.pop(name, None) for name in ("forest", "line", "half_width"))
        self._baseline.restore(rest)
        if threshold is not None and half_width is not None:
            self._threshold, self._half_width = (
                float(threshold.astype(np.float64)),
                float(half_width.astype(np.float64)),
            )
        if forest is not None:
            import joblib  # imports scikit-learn, see fit()

            self._grown(joblib.load(io.BytesIO(forest.tobytes())))
        return self


def _path_lengths(tree: Any) -> Floats:
    """Return the path length to each node of a scikit-learn tree: its depth plus c(n) of its n samples."""
    depth = np.zeros(tree.node_count)
    for parent, (left, right) in enumerate(zip(tree.children_left, tree.children_right, strict=True)):
        if left >= 0:  # children are numbered after their parent
            depth[[left, right]] = depth[parent] + 1
    return depth + average_path(tree.n_node_samples.astype(np.float64))


def _normal_quantiles(count: int) -> Floats:
    """Return `count` values spread as a standard normal distribution, shape (count,)."""
    normal = NormalDist()
    return np.array([normal.inv_cdf((at + 0.5) / count) for at in range(count)])


def _half_width(window: int, threshold: float) -> float:
    """Return how many deviations from normal noise a sample must be for path length `threshold` + 1."""
    away = np.geomspace(0.1, 100.0, 400)
    rows = np.broadcast_to(_normal_quantiles(window - 1), (len(away), window - 1))
    excess = isolation_path(np.concatenate([rows, away[:, None]], axis=1)) - 1
    return float(away[np.argmax(excess <= threshold)]) if (excess <= threshold).any() else float("nan")


def _features(window: Floats, center: Floats, scale: Floats) -> Floats:
    """Return per channel: newest deviation, its change, mean and range of the recent ones; shape (E, C * 4)."""
    with np.errstate(over="ignore", invalid="ignore"):
        recent = (window[:, :, -RECENT:] - center[..., None]) / scale[..., None]  # (E, C, 5)
    recent = np.clip(recent, -CLIP, CLIP)
    newest = recent[..., -1]
    before = recent[..., -2:][..., 0]  # the newest itself where there is only one sample
    previous = np.where(np.isfinite(before), before, newest)  # after a gap the change is 0
    filled = np.where(np.isfinite(recent), recent, newest[..., None])
    columns = np.stack([newest, newest - previous, filled.mean(axis=-1), np.ptp(filled, axis=-1)], axis=-1)
    return columns.reshape(len(window), columns.shape[1] * columns.shape[2])


def _without_outages(rows: Floats) -> Floats:
    """Return the feature rows without lasting deviations, because the history may hold unlabelled outages."""
    lasting = (np.abs(rows[:, 2::FEATURES_PER_CHANNEL]) > LASTING).any(axis=1)
    return rows if lasting.sum() > MOST_OUTAGE * len(rows) else rows[~lasting]
