"""scikit-learn's isolation forest, one for all entities of a job."""

import io
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from detectors.baseline import Baseline, median_and_scale
from detectors.types import Batch, Flags, Floats, Judgement, State

CLIP: Final = 30.0
"""Scaled values beyond this many deviations are alike: one huge value shall not take up every split."""
FEATURES_PER_CHANNEL: Final = 4
RECENT: Final = 5
"""Samples behind the features of the recent past."""


@dataclass(kw_only=True)
class IsolationForestDetector:
    """How easily random cuts isolate the newest samples, in a forest pooled over all entities of the job.

    Every entity is scaled by its own median and spread, so that one forest serves them all; per channel it sees the
    newest deviation, its change, and mean and range of the last five. The score is scikit-learn's anomaly score over
    its threshold at `contamination`, so that above 1 is what `IsolationForest.predict` calls an outlier.
    Source: Liu, Ting & Zhou (2008), Isolation Forest, doi:10.1109/ICDM.2008.17.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    window: Annotated[int, Field(ge=2, description="samples looked at; default: the job's window")] = 60
    contamination: Annotated[float, Field(gt=0, le=0.5, description="share of the training samples beyond score 1")] = (
        0.003
    )
    trees: Annotated[int, Field(ge=1, le=2000, description="trees in the forest")] = 100
    min_samples: Annotated[
        int, Field(ge=2, description="samples before the first verdict, at most half the window")
    ] = 10
    max_rows: Annotated[int, Field(ge=100, description="training rows drawn from the history")] = 20_000
    seed: Annotated[int, Field(ge=0, description="seed of the draws, for repeatable models")] = 0

    _baseline: Baseline = field(init=False, repr=False)
    _forest: Any = field(init=False, repr=False, default=None)  # an IsolationForest; its import is left to fit()

    def __post_init__(self) -> None:
        self._baseline = Baseline(self.window, self.min_samples)

    def fit(self, history: Batch) -> Self:
        """Grow the forest on windows of `history`. Raises ValueError when there are fewer than 100 usable ones."""
        from sklearn.ensemble import IsolationForest  # costs seconds of start-up: only where a forest is used

        rows = self._training_rows(history)
        if len(rows) < 100:
            raise ValueError(f"{len(rows)} usable windows in the history, the forest needs 100")
        self._forest = IsolationForest(
            n_estimators=self.trees, contamination=self.contamination, random_state=self.seed, n_jobs=1
        ).fit(rows)
        return self

    def _training_rows(self, history: Batch) -> Floats:
        """Return features of windows drawn at random over entities and times, shape (at most max_rows, C * 4)."""
        entities, channels, samples = history.values.shape
        first = min(self.min_samples, max(self.window // 2, 1)) + 1
        ends = np.arange(first, samples + 1)
        if not len(ends) or not entities:
            return np.empty((0, channels * FEATURES_PER_CHANNEL))
        draw = np.random.default_rng(self.seed).permutation(entities * len(ends))[: self.max_rows]
        rows = []
        for which, end in enumerate(ends):  # one pass per time, over all entities drawn for it
            chosen = draw[draw % len(ends) == which] // len(ends)
            if len(chosen):
                window = history.values[chosen, :, max(end - self.window, 0) : end]
                center, scale, count = median_and_scale(window[:, :, :-1])
                ready = (count >= first - 1).all(axis=1)
                rows.append(_features(window, center, scale)[ready])
        features = np.concatenate(rows)
        return features[np.isfinite(features).all(axis=1)]

    def score(self, batch: Batch) -> Judgement:
        """Judge the newest sample of each entity; NaN for all until the forest is grown."""
        level = self._baseline.level(batch)
        features = _features(batch.values[:, :, -self.window :], level.center, level.scale)
        score = np.full(len(batch.keys), np.nan)
        ready = np.isfinite(features).all(axis=1)
        if self._forest is not None and ready.any():
            score[ready] = self._forest.score_samples(features[ready]) / self._forest.offset_
        deviation = np.abs(features[:, ::FEATURES_PER_CHANNEL])
        total = deviation.sum(axis=1, keepdims=True)
        blame = np.divide(deviation, total, out=np.zeros_like(deviation), where=total > 0)
        nothing = np.full_like(level.center, np.nan)
        return Judgement(score, level.center, nothing, nothing, blame)

    def update(self, fresh: Batch, held: Flags, adopted: Flags) -> None:
        """Move the levels of entities without an incident; the forest itself changes only by `fit`."""
        self._baseline.update(fresh, held, adopted)

    def state(self) -> State:
        """Return the forest as joblib bytes, and the levels."""
        import joblib  # with scikit-learn, see fit()

        state = self._baseline.state()
        if self._forest is not None:
            buffer = io.BytesIO()
            joblib.dump(self._forest, buffer)
            state["forest"] = np.frombuffer(buffer.getvalue(), np.uint8)
        return state

    def restore(self, state: State) -> Self:
        """Take over what `state()` returned.

        The forest is unpickled, which runs code: the caller has checked where the bytes come from.
        Raises ValueError when the forest was grown on another number of channels.
        """
        import joblib  # with scikit-learn, see fit()

        forest: NDArray[np.generic] | None = state.get("forest")
        self._baseline.restore({name: array for name, array in state.items() if name != "forest"})
        self._forest = None if forest is None else joblib.load(io.BytesIO(forest.tobytes()))
        return self


def _features(window: Floats, center: Floats, scale: Floats) -> Floats:
    """Return per channel: newest deviation, its change, mean and range of the recent ones; shape (E, C * 4)."""
    with np.errstate(over="ignore", invalid="ignore"):
        recent = (window[:, :, -RECENT:] - center[..., None]) / scale[..., None]  # (E, C, 5)
    recent = np.clip(recent, -CLIP, CLIP)
    newest = recent[..., -1]
    previous = np.where(np.isfinite(recent[..., -2]), recent[..., -2], newest)  # after a gap there is no change to see
    filled = np.where(np.isfinite(recent), recent, newest[..., None])
    columns = np.stack([newest, newest - previous, filled.mean(axis=-1), np.ptp(filled, axis=-1)], axis=-1)
    return columns.reshape(len(window), -1)
