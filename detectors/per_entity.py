"""One small model for each entity, asked one sample at a time: the slow path, for what has no vectorised form."""

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from detectors.entity_state import Column, EntityState
from detectors.rolling_baseline import Baseline
from detectors.types import Batch, Flags, Floats, Judgement, Key, State

PREFIX: Final = "per_entity_"
"""Of the saved arrays that are not the baseline's."""
MEMORY: Final = 2000
"""Raw scores an entity remembers, the newest ones."""
NARROW: Final = 1e-3
"""Least distance between usual score and line, as a share of the line: equal scores are no reason for an alarm."""
LARGEST: Final = 1e30
"""Raw scores beyond are alike."""


class Model(Protocol):
    """What is asked of a model; river's anomaly detectors are such."""

    def score_one(self, x: dict[str, float], /) -> float:
        """Return how anomalous the features `x` are; high is anomalous, on any scale."""
        ...

    def learn_one(self, x: dict[str, float], /) -> object:
        """Learn the features `x`."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """What `score` found and `update` needs, in the order of the batch's entities."""

    features: Floats  # (E, C)
    raw: Floats  # (E,), NaN where the model has not learnt enough


class PerEntity:
    """A model for each entity, its scores made comparable.

    A model sees one feature per channel: the deviation from the entity's own median, in robust standard deviations,
    `span` of them to either side of 0.5 and cut to [0, 1]. Its raw score is compared with the last 2,000 of the same
    entity: 0 is their mean, 1 the value that a share `false_alarm_rate` of them exceed. As long as an entity has fewer
    than 1 / `false_alarm_rate` of them, mean and value are drawn towards those of all entities of the job.

    Parameters
    ----------
    factory : callable
        Returns a fresh model.
    window, min_samples : int
        Samples the median is taken from, and how many it needs.
    span : float
        Deviations beyond which all values are alike.
    warm_up : int
        Samples a model has learnt before its scores count.
    false_alarm_rate : float
        At least 1 / 2,000.
    """

    def __init__(
        self,
        factory: Callable[[], Model],
        window: int,
        min_samples: int,
        span: float,
        warm_up: int,
        false_alarm_rate: float,
    ) -> None:
        self.window = window
        self._factory, self._span, self._warm_up, self._rate = factory, span, warm_up, false_alarm_rate
        self._baseline = Baseline(window, min_samples)
        self._models: dict[Key, Model] = {}
        self._roster = EntityState(
            {
                "raw": Column(-np.inf, (MEMORY,), np.float32),  # a ring
                "count": Column(0, (), np.int64),  # raw scores there were
                "usual": Column(0.0),  # their mean
                "learnt": Column(0, (), np.int64),  # samples behind the model
                "held": Column(False, (), np.bool_),
            }
        )
        self._pool: Floats = np.full(2, np.nan)  # mean and line of all raw scores; outlives the entities they are of
        self._last: _Scored | None = None

    def fit(self, history: Batch) -> Self:  # noqa: ARG002 - a start replays it sample by sample
        """Do nothing: what there is of history is judged and learnt sample by sample, incidents left out."""
        return self

    def score(self, batch: Batch) -> Judgement:
        """Judge the newest sample of each entity; NaN where a channel has none."""
        level = self._baseline.level(batch)
        with np.errstate(over="ignore", invalid="ignore"):
            deviation = (batch.values[:, :, -1] - level.center) / level.scale
        features = np.clip(0.5 + deviation / (2.0 * self._span), 0.0, 1.0)
        known = self._roster.view(batch.keys)
        raw = np.full(len(batch.keys), np.nan)
        ready = np.isfinite(features).all(axis=1) & (known["learnt"] >= self._warm_up)
        # Per entity and cycle, learning included: 120 µs for river's half-space trees, 30 for its one-class SVM,
        # 500 for LODA. Ten thousand entities of the first take 1.2 s.
        for row in np.flatnonzero(ready):
            raw[row] = self._models[batch.keys[row]].score_one(_named(batch.channels, features[row]))
        raw = np.clip(np.where(np.isfinite(raw), raw, np.nan), -LARGEST, LARGEST)
        self._last = _Scored(features, raw)
        usual, line = self._scale(known)
        gap = np.maximum(line - usual, NARROW * np.abs(line) + 1e-12)
        score = np.maximum((raw - usual) / gap, 0.0)
        nothing = np.full(features.shape, np.nan)
        share = np.abs(features - 0.5)
        total = share.sum(axis=1, keepdims=True)
        share = np.divide(share, total, out=np.full_like(share, 1.0 / share.shape[1]), where=total > 0)
        contribution = np.where(np.isfinite(score)[:, None], share, np.nan)
        return Judgement(score, level.center, nothing, nothing, contribution)

    def _scale(self, known: Mapping[str, NDArray[Any]]) -> tuple[Floats, Floats]:
        """Return the raw scores, shape (E,), that become 0 and 1; NaN until the job has seen enough to tell."""
        count = np.minimum(known["count"], MEMORY)
        exceeding = (self._rate * count).astype(np.intp)
        rising = np.sort(known["raw"], axis=1)  # 20 µs per entity; a partition takes 100 where rows are mostly -inf
        line = np.take_along_axis(rising, MEMORY - 1 - exceeding[:, None], axis=1)[:, 0]
        own = np.minimum(self._rate * count, 1.0)
        usual, line = (
            np.where(own < 1, own * np.where(count > 0, value, 0.0) + (1.0 - own) * of_all, value)
            for value, of_all in zip((known["usual"], line.astype(np.float64)), self._pool, strict=True)
        )
        return usual, line

    def _learn_pool(self) -> None:
        """Take mean and line of all entities together, as long as one of them has too few scores of its own."""
        count = self._roster["count"]
        if self._rate * count.sum() >= 1 and (self._rate * count < 1).any():
            raw = self._roster["raw"]
            raw = raw[np.isfinite(raw)].astype(np.float64)
            self._pool = np.array([raw.mean(), np.quantile(raw, 1.0 - self._rate)])

    def update(self, fresh: Batch, frozen: Flags, rebaselined: Flags) -> None:
        """Learn the newest sample of entities without an incident.

        Of several new samples only the newest was judged, so only it is learnt. Of an incident the first raw score is
        remembered: if none were, the line would sink by what exceeds it, and alarms would breed alarms.
        """
        if not len(fresh.times):
            return
        self._baseline.update(fresh, frozen, rebaselined)
        assert self._last is not None  # the baseline has just refused an update without a score
        last, self._last = self._last, None
        self._roster.align(fresh.keys)
        self._models = {key: self._models.get(key) or self._factory() for key in fresh.keys}
        learns = np.isfinite(last.features).all(axis=1) & ~frozen & ~rebaselined
        for row in np.flatnonzero(learns):  # its cost: see score()
            self._models[fresh.keys[row]].learn_one(_named(fresh.channels, last.features[row]))
        self._roster["learnt"] += learns
        raw, count, usual = (self._roster[name] for name in ("raw", "count", "usual"))
        rows = np.flatnonzero(np.isfinite(last.raw) & (learns | (frozen & ~self._roster["held"])))
        raw[rows, count[rows] % MEMORY] = last.raw[rows]
        count[rows] += 1
        usual[rows] += (last.raw[rows] - usual[rows]) / np.minimum(count[rows], MEMORY)
        self._roster["held"] = frozen & ~rebaselined
        self._learn_pool()

    def state(self) -> State:
        """Return levels, raw scores, and the models as one pickle; empty before anything was learnt."""
        if not (levels := self._baseline.state()):
            return {}
        models = pickle.dumps([self._models[key] for key in self._roster.keys])
        own: State = {"models": np.frombuffer(models, np.uint8), "pool": self._pool, **self._roster.state()}
        return {**levels, **{PREFIX + name: array for name, array in own.items()}}

    def restore(self, state: State) -> Self:
        """Take over what `state()` returned.

        The models are unpickled, which runs code: the caller has checked where the bytes come from.
        Raises ValueError when the state is that of another detector.
        """
        own = {name.removeprefix(PREFIX): array for name, array in state.items() if name.startswith(PREFIX)}
        self._baseline.restore({name: array for name, array in state.items() if not name.startswith(PREFIX)})
        if state:
            if "models" not in own or "pool" not in own or own["pool"].shape != (2,):
                raise ValueError("the saved state holds no models of single entities")
            try:
                models = pickle.loads(own["models"].tobytes())  # noqa: S301 - see above
            except Exception as error:  # what a class of another version raises is up to it
                raise ValueError(f"the saved models cannot be read, perhaps another version's: {error}") from error
            self._roster.restore(own)
            self._pool = own["pool"].astype(np.float64)
            self._models = dict(zip(self._roster.keys, models, strict=True))
        return self


def _named(channels: tuple[str, ...], features: Floats) -> dict[str, float]:
    return dict(zip(channels, features.tolist(), strict=True))
