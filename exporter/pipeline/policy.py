"""What the user calls anomalous: which deviations count, in which direction, and which values are never normal."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.calibration import KAPPA
from detectors.types import Batch, Flags, Floats, Judgement
from exporter.config.sections.job import JobConfig

INVALID_SCORE: Final = 10.0
"""Score of a value outside the valid range."""
STAYS_OPEN: Final = 0.6
"""An open incident stays open while the score is above: a drop that is surely there may be just below 1 in between."""
_LEAST: Final = float(np.nextafter(0.0, 1.0))
"""Deviation in the direction that counts whose size is unknown."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the user says about which deviations count."""

    direction: str = "both"
    least_deviation: float = 0.0
    lowest: float = -np.inf
    highest: float = np.inf
    false_alarms: float = 1.0
    """Incidents per week and entity that may open by chance; detectors score for one."""

    @classmethod
    def of(cls, job: JobConfig) -> "Policy":
        """Return the policy of a configured job."""
        lowest, highest = job.valid_range or (None, None)
        return cls(
            job.direction,
            job.least_deviation,
            -np.inf if lowest is None else lowest,
            np.inf if highest is None else highest,
            job.false_alarms,
        )

    @property
    def scale(self) -> float:
        """What a detector's score is multiplied by, so that 1 stands for `false_alarms`."""
        return float(self.false_alarms ** (1 / KAPPA))

    def apply(self, judgement: Judgement, batch: Batch) -> Floats:
        """Return the scores, shape (E,): at most STAYS_OPEN where no channel deviates enough in the way that counts.

        A value outside the valid range is anomalous whatever the detector says. Where a detector has no forecast,
        direction and least deviation cannot be judged and the score stands.
        """
        newest = batch.values[:, :, -1]
        deviation = self.deviation(newest, judgement.expected, judgement.direction, judgement.contribution)
        counts = self.counts(deviation) & ~np.isnan(newest)
        return self.scores(judgement.score, np.asarray(counts.any(axis=1)), self.invalid(newest))

    def unusual(self, judgement: Judgement, batch: Batch) -> Floats:
        """Return the scores, shape (E,), before direction and least deviation rule anything out.

        A line of fewer false alarms rules out too: the larger score counts.
        """
        every = np.ones(len(batch.keys), np.bool_)
        return np.fmax(self.scores(judgement.score, every, self.invalid(batch.values[:, :, -1])), judgement.score)

    def invalid(self, newest: Floats) -> Flags:
        """Return the entities, shape (E,), with a value (E, C) outside the valid range."""
        if self.lowest == -np.inf and self.highest == np.inf:
            return np.zeros(len(newest), np.bool_)
        return np.asarray(self.outside(newest).any(axis=1))

    def outside(self, newest: Floats) -> Flags:
        """Return which values (E, C) are outside the valid range."""
        with np.errstate(invalid="ignore"):
            return np.asarray((newest < self.lowest) | (newest > self.highest))

    def inside(self, batch: Batch) -> Flags:
        """Return the entities, shape (E,), whose newest values are there and all inside the valid range."""
        newest = batch.values[:, :, -1]
        return np.asarray(np.isfinite(newest).any(axis=1) & ~self.invalid(newest))

    def deviation(
        self, values: Floats, expected: Floats, direction: Floats | None = None, contribution: Floats | None = None
    ) -> Floats:
        """Return how far values are from what was expected, in the direction that counts; NaN without a forecast.

        All arrays have shape (E, C). Infinitely far in the other direction, -inf, are channels whose evidence lies on
        the other side (`direction`), and of several channels those with less than an equal share in the score
        (`contribution`): others speak.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            deviation = values - expected
            sign = -1.0 if self.direction == "below" else 1.0
            deviation = np.abs(deviation) if self.direction == "both" else sign * deviation
            if self.direction != "both" and direction is not None:
                deviation = np.where((sign * direction > 0) & (deviation <= 0), _LEAST, deviation)
                deviation = np.where(sign * direction <= 0, -np.inf, deviation)
            if contribution is not None:
                deviation = np.where(contribution < 0.999 / contribution.shape[1], -np.inf, deviation)
        return deviation

    def counts(self, deviation: Floats) -> Flags:
        """Return which deviations are large enough; NaN, which cannot be judged, is."""
        with np.errstate(invalid="ignore"):
            too_small = (deviation < self.least_deviation) | ((deviation <= 0) & (self.direction != "both"))
        return np.asarray(~too_small)

    def scores(self, score: Floats, counts: Flags, invalid: Flags) -> Floats:
        """Return scores for one incident per week and entity rescaled and limited; all arrays have the same shape."""
        score = score * self.scale
        score = np.where(counts, score, np.minimum(score, STAYS_OPEN))
        return np.where(invalid, np.fmax(score, INVALID_SCORE), score)
