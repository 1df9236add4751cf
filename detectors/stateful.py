"""Shared by all detectors: their base class, and the rule that `update` follows `score`."""

from dataclasses import replace
from typing import ClassVar, Generic, Self, TypeVar

import numpy as np
from pydantic import ConfigDict

from detectors.types import Batch, Detector, Key

Found = TypeVar("Found")


class StatefulDetector(Detector):
    """Base class of all detectors. mypy checks each of them against the interface `Detector`.

    A detector is a dataclass. Its public fields are the hyper-parameters of the configuration: pydantic checks them and
    refuses unknown ones.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    def fit(self, history: Batch) -> Self:  # noqa: ARG002 - for detectors that learn offline
        """Do nothing. A detector that learns online gets the history sample by sample, through score and update."""
        return self

    def prepare(self, coming: Batch) -> None:
        """Do nothing. A detector whose work for a sample depends on it alone has nothing to prepare."""


class Ahead(Generic[Found]):
    """What `prepare` has computed for the `score` of one batch, as long as nothing is learnt in between."""

    def __init__(self) -> None:
        self._kept: tuple[Batch, Found] | None = None

    def keep(self, coming: Batch, found: Found) -> None:
        """Keep what was computed for a batch whose newest samples have not come yet."""
        self._kept = (replace(coming, values=coming.values[:0]), found)  # not the window itself

    def take(self, batch: Batch) -> Found | None:
        """Return, once, what was computed for the batch; None where another one was expected."""
        (coming, found), self._kept = self._kept or (None, None), None
        if coming is None or coming.keys is not batch.keys or coming.channels != batch.channels:
            return None
        same = np.array_equal(coming.times, batch.times) and coming.weekday(-1) == batch.weekday(-1)
        return found if same else None

    def drop(self) -> None:
        """Forget what was computed: something was learnt."""
        self._kept = None


class LastScore(Generic[Found]):
    """Intermediate results of the last `score`, kept for the `update` of the same samples."""

    def __init__(self) -> None:
        self._kept: tuple[tuple[Key, ...], float, Found] | None = None

    def keep(self, batch: Batch, found: Found) -> None:
        """Keep what was computed for the newest sample of `batch`. A batch without samples is ignored."""
        if len(batch.times):
            self._kept = (batch.keys, float(batch.times[-1]), found)

    def take(self, fresh: Batch) -> Found:
        """Return what was kept, once. Raises ValueError unless it belongs to the newest sample of `fresh`."""
        if self._kept is None or self._kept[0] is not fresh.keys or self._kept[1] != fresh.times[-1]:
            raise ValueError("update() follows score() of the same samples")
        found, self._kept = self._kept[2], None
        return found
