"""A fleet whose series are of many kinds, not of one noise."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from detectors import Floats
from detectors.units import DAY
from tests.fleet.series import Fleet
from tests.support.kinds_of_series import CHANGES, SHAPES, ZONES, Shape, make


@dataclass(frozen=True, kw_only=True)
class MixedFleet(Fleet):
    """The kinds of `tests.support.kinds_of_series` on which every failure can be told, in turns.

    Without those that follow the clocks of a zone: a fleet is one job, which counts hours in UTC, so that their rhythm
    would move by an hour when the clocks do, which is no chance.
    """

    def values(self) -> Iterator[Floats]:
        """Yield the samples of one time after the other, shape (entities,)."""
        names = [name for name, shape in SHAPES.items() if _is_told(name, shape)]
        days, made = self.samples * self.step / DAY, np.empty((self.samples, self.entities))
        for row in range(self.entities):
            rng = np.random.default_rng([self.seed, 3, row])
            made[:, row] = make(names[row % len(names)], rng, self.step, days, changes=0).values
        for trouble in self.troubles:
            made[trouble.begin : trouble.end, trouble.rows] *= trouble.factor
        yield from made


def _is_told(name: str, shape: Shape) -> bool:
    return shape.sizes == CHANGES and not shape.unquiet and name not in ZONES
