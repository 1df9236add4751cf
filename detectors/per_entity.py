"""One small model per entity, called one sample at a time: the slow path, for models without a vectorised form."""

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from detectors.entity_state import Column, EntityState
from detectors.rolling_baseline import Baseline
from detectors.stateful import LastScore, StatefulDetector
from detectors.streams import of_deviation
from detectors.types import Batch, Flags, Floats, Judgement, Key, State

PREFIX: Final = "per_entity_"
"""Prefix of the saved arrays that do not belong to the baseline."""
MEMORY: Final = 2000
"""Number of newest raw scores kept per entity."""
NARROW: Final = 1e-3
"""Smallest distance between usual score and threshold, as a share of the threshold: equal scores are not anomalous."""
LARGEST: Final = 1e30
"""Raw scores are clipped to this size."""


class Model(Protocol):
    """Interface of a model; river's anomaly detectors have it."""

    def score_one(self, x: dict[str, float], /) -> float:
        """Return the raw score of the features `x`: high is anomalous, on any scale."""
        ...

    def learn_one(self, x: dict[str, float], /) -> object:
        """Learn the features `x`."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Scored:
    """Intermediate results of `score` for `update`, in the order of the batch's entities."""

    features: Floats  # (E, C)
    raw: Floats  # (E,), NaN where the model has not seen enough samples


class PerEntity(StatefulDetector):
    """One model per entity, with raw scores rescaled so that they are comparable.

    A model sees one feature per channel: the deviation from the entity's own median in robust standard deviations,
    mapped from -`span` .. `span` to 0 .. 1 and clipped. Its raw score is compared with the last 2,000 raw scores of the
    same entity: their mean becomes 0, and the value that a share `false_alarm_rate` of them exceed becomes 1. While an
    entity has fewer than 1 / `false_alarm_rate` raw scores, both values are shrunk towards those of all entities.

    Parameters
    ----------
    factory : callable
        Returns a new model.
    window, min_samples : int
        Number of samples the median is taken over, and the smallest number it needs.
    span : float
        Deviations at which features are clipped.
    warm_up : int
        Number of samples a model learns before its scores count.
    false_alarm_rate : float
        Share of the raw scores above score 1, at least 1 / 2,000.
    """

    window: int = 0  # an attribute in place of the interface's read-only property

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
        self._entities = EntityState(
            {
                "raw": Column(-np.inf, (MEMORY,), np.float32),  # a ring
                "count": Column(0, (), np.int64),  # raw scores so far
                "usual": Column(0.0),  # their mean
                "learnt": Column(0, (), np.int64),  # samples behind the model
                "held": Column(False, (), np.bool_),
            }
        )
        self._pool: Floats = np.full(2, np.nan)  # mean and threshold of all raw scores; outlives the entities
        self._last: LastScore[_Scored] = LastScore()

    def prepare(self, coming: Batch) -> None:
        """Compute the level that the newest samples will be compared with."""
        self._baseline.prepare(coming)

    def score(self, batch: Batch) -> Judgement:
        """Score the newest sample of each entity; NaN where a channel has none."""
        level = self._baseline.level(batch)
        deviation = level.deviation(batch.values[:, :, -1])
        features = np.clip(0.5 + deviation / (2.0 * self._span), 0.0, 1.0)
        known = self._entities.view(batch.keys)
        raw = np.full(len(batch.keys), np.nan)
        ready = np.isfinite(features).all(axis=1) & (known["learnt"] >= self._warm_up)
        # Per entity and cycle, learning included: 120 µs for river's half-space trees, 30 for its one-class SVM,
        # 500 for LODA. Ten thousand entities of the first take 1.2 s.
        for row in np.flatnonzero(ready):
            raw[row] = self._models[batch.keys[row]].score_one(_named(batch.channels, features[row]))
        raw = np.clip(np.where(np.isfinite(raw), raw, np.nan), -LARGEST, LARGEST)
        self._last.keep(batch, _Scored(features, raw))
        usual, threshold = self._scale(known)
        gap = np.maximum(threshold - usual, NARROW * np.abs(threshold) + 1e-12)
        score = np.maximum((raw - usual) / gap, 0.0)
        nothing = np.full(features.shape, np.nan)
        share = np.abs(features - 0.5)
        total = share.sum(axis=1, keepdims=True)
        share = np.divide(share, total, out=np.full_like(share, 1.0 / share.shape[1]), where=total > 0)
        contribution = np.where(np.isfinite(score)[:, None], share, np.nan)
        return Judgement(score, level.center, nothing, nothing, contribution, streams=of_deviation(score, deviation))

    def _scale(self, known: Mapping[str, NDArray[Any]]) -> tuple[Floats, Floats]:
        """Return the raw scores, shape (E,), that become 0 and 1; NaN until the job has enough raw scores."""
        count = np.minimum(known["count"], MEMORY)
        exceeding = (self._rate * count).astype(np.intp)
        rising = np.sort(known["raw"], axis=1)  # 20 µs per entity; a partition takes 100 where rows are mostly -inf
        threshold = np.take_along_axis(rising, MEMORY - 1 - exceeding[:, None], axis=1)[:, 0]
        own = np.minimum(self._rate * count, 1.0)
        usual, threshold = (
            np.where(own < 1, own * np.where(count > 0, value, 0.0) + (1.0 - own) * of_all, value)
            for value, of_all in zip((known["usual"], threshold.astype(np.float64)), self._pool, strict=True)
        )
        return usual, threshold

    def _learn_pool(self) -> None:
        """Update mean and threshold of all entities together, while some entity has too few raw scores of its own."""
        count = self._entities["count"]
        if self._rate * count.sum() >= 1 and (self._rate * count < 1).any():
            raw = self._entities["raw"]
            raw = raw[np.isfinite(raw)].astype(np.float64)
            self._pool = np.array([raw.mean(), np.quantile(raw, 1.0 - self._rate)])

    def update(self, fresh: Batch, frozen: Flags, rebaselined: Flags) -> None:
        """Learn the newest sample of entities without an incident.

        Of several new samples only the newest was scored, so only that one is learnt. The first raw score of an
        incident is recorded too. Otherwise the threshold would lose exactly the scores above it and sink, and every
        alarm would make the next one more likely.
        """
        if not len(fresh.times):
            return
        self._baseline.update(fresh, frozen, rebaselined)
        last = self._last.take(fresh)
        self._entities.align(fresh.keys)
        self._models = {key: self._models.get(key) or self._factory() for key in fresh.keys}
        learns = np.isfinite(last.features).all(axis=1) & ~frozen & ~rebaselined
        for row in np.flatnonzero(learns):  # its cost: see score()
            self._models[fresh.keys[row]].learn_one(_named(fresh.channels, last.features[row]))
        self._entities["learnt"] += learns
        raw, count, usual = (self._entities[name] for name in ("raw", "count", "usual"))
        rows = np.flatnonzero(np.isfinite(last.raw) & (learns | (frozen & ~self._entities["held"])))
        raw[rows, count[rows] % MEMORY] = last.raw[rows]
        count[rows] += 1
        usual[rows] += (last.raw[rows] - usual[rows]) / np.minimum(count[rows], MEMORY)
        self._entities["held"] = frozen & ~rebaselined
        self._learn_pool()

    def state(self) -> State:
        """Return levels, raw scores and the models as one pickle; empty before the first batch."""
        if not (levels := self._baseline.state()):
            return {}
        models = pickle.dumps([self._models[key] for key in self._entities.keys])
        own: State = {"models": np.frombuffer(models, np.uint8), "pool": self._pool, **self._entities.state()}
        return {**levels, **{PREFIX + name: array for name, array in own.items()}}

    def restore(self, state: State) -> Self:
        """Load what `state()` returned.

        The models are unpickled, which can run code: the caller must have checked where the bytes come from.
        Raises ValueError when the state belongs to another detector.
        """
        own = {name.removeprefix(PREFIX): array for name, array in state.items() if name.startswith(PREFIX)}
        self._baseline.restore({name: array for name, array in state.items() if not name.startswith(PREFIX)})
        if state:
            if "models" not in own or "pool" not in own or own["pool"].shape != (2,):
                raise ValueError("the saved state holds no models of entities")
            try:
                models = pickle.loads(own["models"].tobytes())  # noqa: S301 - see above
            except Exception as error:  # a class of another version may raise anything
                raise ValueError(f"the saved models cannot be read, perhaps another version's: {error}") from error
            self._entities.restore(own)
            self._pool = own["pool"].astype(np.float64)
            self._models = dict(zip(self._entities.keys, models, strict=True))
        return self


def _named(channels: tuple[str, ...], features: Floats) -> dict[str, float]:
    return dict(zip(channels, features.tolist(), strict=True))
