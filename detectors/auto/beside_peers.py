"""What peers add to the evidence of `auto`: one more stream beside those of an entity's own past."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import Evidence
from detectors.peers.beside import of_entities
from detectors.peers.comparison import Comparison
from detectors.streams import SHOWN_FROM
from detectors.types import Floats

AGREEING: Final = 3.0
"""What the return period of a comparison is divided by. Compared with their peers alone entities open 0.9 incidents a
week at 1.5; at 3 it is about half, and what their own past opens comes on top."""


@dataclass(slots=True)
class BesidePeers:
    """A comparison of all entities of a job, to be added to the evidence of their own past.

    Parameters
    ----------
    found : Comparison
    channels : int
    agreeing : float
        What the own evidence is divided by.
    """

    found: Comparison
    channels: int
    agreeing: float

    @property
    def _share(self) -> float:
        return self.agreeing / AGREEING

    def added(self, own: Evidence, entities: NDArray[np.intp]) -> Evidence:
        """Return the evidence of some entities, `own` of shape (R,), with that of their peers."""
        of = self.found.evidence

        def beside(of_series: Floats) -> Floats:
            return of_entities(of_series.reshape(-1, self.channels)[entities], self.channels) * self._share

        return Evidence(
            own.return_period + beside(of.return_period),
            own.unpenalised + beside(of.unpenalised),
            own.prior + beside(of.prior),
            own.parts,
        )

    def directed(self, own: Floats, evidence: Evidence, series: NDArray[np.intp]) -> Floats:
        """Return on which side the evidence of some series lies, (R,); NaN where there is too little of it."""
        beside = self.found.evidence.return_period[series] * self._share
        mine = np.where(np.isnan(own), 0.0, evidence.return_period)
        total = mine + beside
        side = np.nan_to_num(own) * mine + self.found.side[series] * beside
        return np.where(beside > 0, np.divide(side, total, out=np.zeros_like(total), where=total > 0), own)

    def speaks(self, score: Floats, contribution: Floats) -> NDArray[np.intp]:
        """Add to the contribution (E, C) of each channel, in place; return the series where peers speak louder.

        Of those only that have a score to be explained: what peers make of them is what was expected.
        """
        beside = self.found.evidence.return_period.reshape(contribution.shape) * self._share
        with np.errstate(invalid="ignore"):
            louder = (score > SHOWN_FROM)[:, None] & (beside > np.nan_to_num(contribution))
        contribution += beside / self.channels
        return np.flatnonzero(louder.reshape(-1) & self.found.judged)
