"""Distance of the newest sample from the entity's own median, in robust standard deviations."""

from dataclasses import dataclass, field
from typing import Annotated, Final, Self

import numpy as np
from pydantic import Field

from detectors.rolling_baseline import Baseline
from detectors.stateful import StatefulDetector
from detectors.streams import of_deviation
from detectors.types import Batch, Flags, Judgement, State

_LARGEST: Final = float(np.finfo(np.float64).max)


@dataclass(kw_only=True)
class Robust(StatefulDetector):
    """Modified z-score of the newest sample against the window before it. Needs no training.

    The score is the largest |x - median| / scale over the channels, divided by `deviations`, so that 1 is the edge of
    the band. Source: Iglewicz & Hoaglin (1993), How to Detect and Handle Outliers, ISBN 0-87389-247-X.
    """

    window: Annotated[int, Field(ge=2, description="samples looked at; default: the job's window")] = 60
    deviations: Annotated[float, Field(gt=0, description="half width of the band in robust standard deviations")] = 6.0
    min_samples: Annotated[int, Field(ge=2, description="samples before the first score, at most half the window")] = 10

    _baseline: Baseline = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._baseline = Baseline(self.window, self.min_samples)

    def prepare(self, coming: Batch) -> None:
        """Compute the level that the newest samples will be compared with."""
        self._baseline.prepare(coming)

    def score(self, batch: Batch) -> Judgement:
        """Score the newest sample of each entity."""
        level = self._baseline.level(batch)
        newest = batch.values[:, :, -1]
        with np.errstate(over="ignore", invalid="ignore"):
            half = np.minimum(self.deviations * level.scale, _LARGEST)
            ratio = np.minimum(np.abs(newest - level.center) / half, _LARGEST)  # no inf, NaN stays
            share = ratio / np.nansum(ratio, axis=1, keepdims=True)
            lower, upper = level.center - half, level.center + half
        ratio = np.where(np.isfinite(newest), ratio, np.nan)
        score = np.fmax.reduce(ratio, axis=1, initial=np.nan)
        share = np.where(np.isfinite(share), share, 0.0)
        return Judgement(score, level.center, lower, upper, share, streams=of_deviation(score, level.deviation(newest)))

    def update(self, fresh: Batch, frozen: Flags, rebaselined: Flags) -> None:
        """Update the baseline of entities without an incident."""
        self._baseline.update(fresh, frozen, rebaselined)

    def state(self) -> State:
        """Return the state of the baseline."""
        return self._baseline.state()

    def restore(self, state: State) -> Self:
        """Load what `state()` returned. Raises ValueError when it does not fit."""
        self._baseline.restore(state)
        return self
