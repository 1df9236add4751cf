"""Whether the scores of a job have changed for good, so that its model should be trained again.

What is watched is one number an hour: the mean of s / (1 + s) over the scores s of all entities, between 0 and 1 and
one half at the line. Hours are slow enough that the rhythm of the day and an incident of a few hours decide nothing.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from detectors.types import Floats, State
from detectors.units import HOUR
from exporter.config.sections.job import DriftConfig

REFERENCE: Final = 336
"""Hours that say what is usual to DDM; two weeks, so that weekends are among them."""
ERRORS: Final = 0.25
"""Share of the usual hours that count as errors to DDM: enough that their number says something."""
LEAST: Final = 168
"""Further hours before DDM says anything."""
KEPT: Final = 1344
"""Hours remembered, eight weeks; when there are twice as many, the older ones are forgotten."""
NEWEST: Final = 24
"""Hours whose mean is held against that of those before them."""
LEAST_CHANGE: Final = 0.03
"""Difference of these means below which a change is certain and of no account: scores a fifth higher."""


@dataclass(frozen=True, slots=True)
class Drift:
    """A lasting change: by which method it was found, after how many hours, and the hourly means before and now."""

    method: str
    hours: int
    before: float
    now: float

    @property
    def reason(self) -> str:
        """Say it in a sentence."""
        return (
            f"the scores have {'risen' if self.now > self.before else 'sunk'} for good: the hourly mean of s / (1 + s) "
            f"is {self.now:.3f}, in the {self.hours - NEWEST} hours before it was {self.before:.3f} ({self.method})"
        )


class DriftWatch:
    """Watches the scores of one job.

    ADWIN (Bifet & Gavaldà 2007, doi:10.1137/1.9781611972771.42) compares the means of any two adjacent parts of the
    past, with a bound that holds for numbers between 0 and 1. DDM (Gama et al. 2004, doi:10.1007/978-3-540-28645-5_29)
    watches a rate of errors, here hours above the upper quartile of the first two weeks; it sees rises only. After a
    change either starts again.

    Its state is what it was fed: river's detectors are rebuilt from it, so that nothing of theirs is unpickled.
    """

    def __init__(self, config: DriftConfig) -> None:
        self.config = config
        self._hour = np.nan
        self._sum = self._count = 0.0
        self._fed: list[float] = []
        self._line = np.nan  # an hour above it is an error to DDM
        self._start()

    def _start(self) -> None:
        """Make a detector that knows what was fed."""
        from river import drift  # seconds of start-up, and an extra: only where it is asked for

        self._detector: Any  # what river has for numbers and for errors shares no base class
        if self.config.method == "adwin":
            self._detector = drift.ADWIN(delta=self.config.delta, clock=1)  # type: ignore[no-untyped-call] # river leaves it untyped
        else:
            self._detector = drift.binary.DDM(warm_start=LEAST, drift_threshold=self.config.threshold)
        for at, mean in enumerate(self._fed):
            self._update(at, mean)

    def see(self, score: Floats, time: float) -> Drift | None:
        """Take in the scores of the sample at `time` (Unix seconds), shape (E,); return a change that became clear."""
        found, hour = None, float(np.floor(time / HOUR))
        if hour != self._hour:
            if self._count:
                found = self._feed(self._sum / self._count)
            self._hour, self._sum, self._count = hour, 0.0, 0.0
        known = score[np.isfinite(score)]
        self._sum += float((known / (1.0 + known)).sum())
        self._count += len(known)
        return found

    def _feed(self, mean: float) -> Drift | None:
        self._fed.append(mean)
        if self._update(len(self._fed) - 1, mean):
            before, now = float(np.mean(self._fed[:-NEWEST] or self._fed)), float(np.mean(self._fed[-NEWEST:]))
            if abs(now - before) >= LEAST_CHANGE:
                drift = Drift(self.config.method, len(self._fed), before, now)
                self._fed = []
                self._start()
                return drift
        if len(self._fed) >= 2 * KEPT:
            self._fed = self._fed[-KEPT:]
            self._start()
        return None

    def _update(self, at: int, mean: float) -> bool:
        value: float = mean
        if self.config.method == "ddm":
            if at < REFERENCE:
                return False
            if at == REFERENCE:
                self._line = float(np.quantile(self._fed[:REFERENCE], 1 - ERRORS))
            value = float(mean > self._line)
        self._detector.update(value)
        return bool(self._detector.drift_detected)

    def state(self) -> State:
        """Return the hour under way, and what was fed."""
        return {"hour": np.array([self._hour, self._sum, self._count]), "fed": np.array(self._fed)}

    def restore(self, state: State) -> None:
        """Take over what `state()` returned; nothing where drift was not watched before. Raises ValueError."""
        if not state:
            return
        if state["hour"].shape != (3,) or state["fed"].ndim != 1:
            raise ValueError("the saved drift has another shape")
        self._hour, self._sum, self._count = state["hour"].astype(np.float64).tolist()
        self._fed = state["fed"].astype(np.float64).tolist()
        self._start()
