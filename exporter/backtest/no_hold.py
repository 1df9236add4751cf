"""Judging without the incident hold."""

import numpy as np

from detectors.types import Batch, Detector, Flags, Judgement, State


class NoHold:
    """A detector that learns every sample, also those of open incidents: scores for ranking studies."""

    def __init__(self, inner: Detector) -> None:
        self._inner = inner

    @property
    def window(self) -> int:
        """Samples `score` wants to see."""
        return self._inner.window

    def fit(self, history: Batch) -> "NoHold":
        """Learn offline."""
        self._inner.fit(history)
        return self

    def score(self, batch: Batch) -> Judgement:
        """Judge the newest sample of each entity."""
        return self._inner.score(batch)

    def update(self, fresh: Batch, held: Flags, adopted: Flags) -> None:
        """Learn `fresh` as if no incident were open."""
        self._inner.update(fresh, np.zeros_like(held), np.zeros_like(adopted))

    def state(self) -> State:
        """Return all that was learnt."""
        return self._inner.state()

    def restore(self, state: State) -> "NoHold":
        """Take over what `state()` returned."""
        self._inner.restore(state)
        return self
