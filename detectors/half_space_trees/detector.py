"""Streaming half-space trees: a sample is anomalous where few of the entity's past samples lie."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Annotated, Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from detectors.entity_state import Column, EntityState
from detectors.half_space_trees.trees import Counts, HalfSpaceTrees, count, path_weights, totals
from detectors.rolling_baseline import Baseline, Level, median_and_scale
from detectors.stateful import LastScore, StatefulDetector
from detectors.streams import of_deviation
from detectors.types import Batch, Flags, Floats, Judgement, State

PREFIX: Final = "half_space_"
"""Prefix of the saved arrays that do not belong to the baseline."""
_ROWS: Final = 256
"""Entities per block where masses are summed: several arrays of a few kB for each."""


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """Intermediate results of `score` for `update`."""

    batch: Batch
    level: Level
    ready: Flags  # (E,), every channel has a sample and a level
    cells: NDArray[np.intp]  # (E, trees)
    without: NDArray[np.intp]  # rows of entities that have no reference yet


@dataclass(kw_only=True)
class HalfSpaceTreesDetector(StatefulDetector):
    """Mass around the newest sample in random trees. Entities share the trees; each has its own masses.

    Every entity is scaled by its own median and spread, so that one set of trees fits all; per channel the trees see
    the newest deviation. The masses of the last full `mass_window` are the reference, while the masses of the current
    one are counted. An entity without a full mass window is compared with the samples of its window. The paper's score
    1 - s is made comparable between entities: the mean s of the reference samples over the s of the newest one, divided
    by the value of this ratio that gaussian noise exceeds with probability `false_alarm_rate`.
    Source: Tan, Ting & Liu (2011), doi:10.5591/978-1-57735-516-8/IJCAI11-254.
    """

    window: Annotated[int, Field(ge=2, description="samples the level is taken from; default: the job's window")] = 60
    trees: Annotated[int, Field(ge=1, le=200, description="trees, shared by the entities")] = 50
    height: Annotated[int, Field(ge=1, le=8, description="cuts between root and leaf")] = 5
    mass_window: Annotated[int, Field(ge=10, le=60_000, description="samples in a reference")] = 250
    span: Annotated[float, Field(gt=0, description="deviations at which values are clipped")] = 24.0
    false_alarm_rate: Annotated[float, Field(gt=0, le=0.5, description="share of gaussian noise beyond score 1")] = (
        0.001
    )
    min_samples: Annotated[int, Field(ge=2, description="samples before the first score, at most half the window")] = 10
    seed: Annotated[int, Field(ge=0, description="seed of the trees, for repeatable models")] = 0

    _baseline: Baseline = field(init=False, repr=False)
    _forest: HalfSpaceTrees | None = field(init=False, repr=False)
    _entities: EntityState = field(init=False, repr=False)
    _last: LastScore[_Scored] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._forest, self._last = None, LastScore()
        self._baseline = Baseline(self.window, self.min_samples)
        cells = (self.trees, 2**self.height)
        self._entities = EntityState(
            {
                "weights": Column(0, cells, self._weight_type),  # of the reference, see trees.path_weights
                "usual": Column(np.nan),  # mean total of the reference's samples; NaN without a reference
                "mass": Column(0, cells, np.min_scalar_type(self.mass_window)),  # of the current mass window
                "seen": Column(0, (), np.uint16),  # samples in `mass`
            }
        )

    @property
    def _weight_type(self) -> np.dtype[Any]:
        return np.min_scalar_type(self.mass_window * (2 ** (self.height + 1) - 1))

    @property
    def _least(self) -> int:
        return min(self.min_samples, max(self.window // 2, 1))

    def _grown(self, channels: int) -> HalfSpaceTrees:
        if self._forest is None:
            self._forest = _forest(self.trees, self.height, channels, self.seed)
        return self._forest

    def fit(self, history: Batch) -> Self:
        """Learn the samples of `history` in order, each scaled by the window before it."""
        forest = self._grown(len(history.channels))
        self._entities.align(history.keys)
        for end in range(self._least + 1, len(history.times) + 1):
            points = _newest(history.values[:, :, max(end - self.window, 0) : end], self._least, self.span)
            self._learn(forest.cells(points), _complete(points))
        return self

    def prepare(self, coming: Batch) -> None:
        """Compute the level that the newest samples will be compared with."""
        self._baseline.prepare(coming)

    def score(self, batch: Batch) -> Judgement:
        """Score the newest sample of each entity; NaN where a channel has none."""
        forest = self._grown(len(batch.channels))
        level = self._baseline.level(batch)
        points = _scaled(batch.values[:, :, -1], level, self.span)
        cells = forest.cells(points)
        known = self._entities.view(batch.keys)
        usual, total = known["usual"].copy(), totals(known["weights"], cells)
        ready = _complete(points)
        without = np.flatnonzero(ready & np.isnan(usual))
        for rows, weights, mean in self._references(forest, batch, level, without):
            usual[rows], total[rows] = mean, totals(weights, cells[rows])
        self._last.keep(batch, _Scored(batch, level, ready, cells, without))
        ratio = np.divide(usual, total, out=np.full(len(usual), np.nan), where=ready & (total > 0))
        edge = _noise_ratio(forest, self.window, self.mass_window, self.span, self.false_alarm_rate)
        score = ratio / edge
        nothing = np.full(points.shape, np.nan)
        streams = of_deviation(score, level.deviation(batch.values[:, :, -1]))
        return Judgement(score, level.center, nothing, nothing, _contribution(points, score), streams=streams)

    def update(self, fresh: Batch, frozen: Flags, rebaselined: Flags) -> None:
        """Learn the newest sample of entities without an incident; rebaselined ones start a new reference.

        Of several new samples only the newest was scored, so only that one is learnt.
        """
        if not len(fresh.times):
            return
        self._baseline.update(fresh, frozen, rebaselined)
        last = self._last.take(fresh)
        self._entities.align(last.batch.keys)
        for rows, weights, mean in self._references(
            self._grown(len(fresh.channels)), last.batch, last.level, last.without
        ):
            self._entities["weights"][rows], self._entities["usual"][rows] = weights, mean
        self._learn(last.cells, last.ready & ~frozen & ~rebaselined)
        self._entities["usual"][rebaselined] = np.nan
        self._entities["mass"][rebaselined] = self._entities["seen"][rebaselined] = 0

    def _learn(self, cells: NDArray[np.intp], which: Flags) -> None:
        """Count one sample of each entity in `which`. A full mass window becomes the reference."""
        weights, usual, mass, seen = (self._entities[name] for name in ("weights", "usual", "mass", "seen"))
        count(mass, np.flatnonzero(which), cells[which])
        seen += which
        full = np.flatnonzero(seen >= self.mass_window)
        for first in range(0, len(full), _ROWS):
            rows = full[first : first + _ROWS]
            weights[rows], usual[rows] = _reference(mass[rows], seen[rows], self._weight_type)
        mass[full] = seen[full] = 0

    def _references(
        self, forest: HalfSpaceTrees, batch: Batch, level: Level, which: NDArray[np.intp]
    ) -> Iterator[tuple[NDArray[np.intp], Counts, Floats]]:
        """Yield blocks of `which`: rows, weights and mean total, from the samples before the newest one."""
        normal = self._baseline.normal(batch) if len(which) else batch.values
        for first in range(0, len(which), _ROWS):
            rows = which[first : first + _ROWS]
            past = normal[rows, :, :-1][:, :, -self.mass_window :]
            of_rows = Level(level.center[rows], level.scale[rows], level.count[rows])
            mass = np.zeros((len(rows), self.trees, 2**self.height), np.min_scalar_type(self.mass_window))
            seen = np.zeros(len(rows), np.uint16)
            for sample in range(past.shape[2]):
                points = _scaled(past[:, :, sample], of_rows, self.span)
                there = _complete(points)
                count(mass, np.flatnonzero(there), forest.cells(points[there]))
                seen += there
            enough = seen >= self._least
            if enough.any():
                weights, mean = _reference(mass[enough], seen[enough], self._weight_type)
                yield rows[enough], weights, mean

    def state(self) -> State:
        """Return trees, masses and levels; empty before the first batch."""
        if self._forest is None:
            return {}
        own = {"feature": self._forest.feature, "threshold": self._forest.threshold, **self._entities.state()}
        return {**self._baseline.state(), **{PREFIX + name: array for name, array in own.items()}}

    def restore(self, state: State) -> Self:
        """Load what `state()` returned; an empty one changes nothing. Raises ValueError when it does not fit."""
        own = {name.removeprefix(PREFIX): array for name, array in state.items() if name.startswith(PREFIX)}
        self._baseline.restore({name: array for name, array in state.items() if not name.startswith(PREFIX)})
        if state:
            nodes = (self.trees, 2**self.height - 1)
            if any(name not in own or own[name].shape != nodes for name in ("feature", "threshold")):
                raise ValueError(f"the saved state holds no {self.trees} trees of height {self.height}")
            self._entities.restore(own)
            self._forest = HalfSpaceTrees(own["feature"].astype(np.int64), own["threshold"].astype(np.float64))
        return self


@lru_cache(maxsize=64)
def _forest(trees: int, height: int, features: int, seed: int) -> HalfSpaceTrees:
    """Return the trees of these parameters; jobs with the same parameters share one object."""
    return HalfSpaceTrees.grow(trees, height, features, seed)


def _complete(points: Floats) -> Flags:
    return np.asarray(np.isfinite(points).all(axis=1))


def _scaled(value: Floats, level: Level, span: float) -> Floats:
    """Return the deviations of `value` (E, C) as points of the unit cube; the level is its centre."""
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = (value - level.center) / level.scale
    return np.clip(0.5 + deviation / (2.0 * span), 0.0, 1.0)


def _newest(window: Floats, least: int, span: float) -> Floats:
    """Return the points of the newest samples, scaled by those before; NaN where these are fewer than `least`."""
    with np.errstate(over="ignore", invalid="ignore"):
        center, scale, present = median_and_scale(window[:, :, :-1])
    known = (present >= least) & np.isfinite(scale)
    return _scaled(window[:, :, -1], Level(np.where(known, center, np.nan), scale, present), span)


def _contribution(points: Floats, score: Floats) -> Floats:
    """Return each channel's share of the deviations, shape (E, C); equal shares where nothing deviates."""
    deviation = np.abs(points - 0.5)
    total = deviation.sum(axis=1, keepdims=True)
    share = np.divide(deviation, total, out=np.full_like(deviation, 1.0 / points.shape[1]), where=total > 0)
    return np.where(np.isfinite(score)[:, None], share, np.nan)


def _reference(mass: Counts, seen: Counts, kind: np.dtype[Any]) -> tuple[Counts, Floats]:
    """Return the weights of the leaves and the mean total of the `seen` samples counted in `mass`."""
    weights = path_weights(mass, seen, kind)
    return weights, np.einsum("etl,etl->e", weights, mass, dtype=np.float64) / seen


@lru_cache(maxsize=16)
def _noise_ratio(forest: HalfSpaceTrees, window: int, mass_window: int, span: float, share: float) -> float:
    """Return the ratio of usual to newest total that a `share` of gaussian noise exceeds, by simulation.

    The ratio falls with the number of channels, which share the cuts, and depends on trees and span, so a constant
    would not fit. The simulation takes a fraction of a second, once per set of parameters.
    """
    entities, scored = 128, 200
    features = int(forest.feature.max()) + 1
    noise = np.random.default_rng(0).normal(size=(entities, features, window + mass_window + scored))
    cells = (
        forest.cells(_newest(noise[:, :, end - window : end], 1, span)) for end in range(window + 1, noise.shape[2] + 1)
    )
    mass = np.zeros((entities, forest.trees, forest.leaf_count), np.min_scalar_type(mass_window))
    for learnt in islice(cells, mass_window):
        count(mass, np.arange(entities), learnt)
    kind = np.min_scalar_type(mass_window * (2 * forest.leaf_count - 1))
    weights, usual = _reference(mass, np.full(entities, mass_window), kind)
    ratios = [usual / totals(weights, newest) for newest in cells]
    return float(np.quantile(ratios, 1.0 - share))
