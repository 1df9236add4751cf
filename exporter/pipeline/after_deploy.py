"""What a deploy of their owner changes about the incidents of entities: for a while it takes more to open one."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.calibration import KAPPA
from detectors.types import Flags, Floats
from exporter.config.sections.context import DeploysConfig
from exporter.context.deploy_book import KNOWN_AFTER
from exporter.context.own_deploys import BEFORE

LASTING: Final = 7.0
"""Severity, gathered with caution, from which an incident after a deploy is an alert, if it is rare enough for the
budget: a good rollout is felt for five minutes or so, however much, and a bad one goes on (docs/context.md).
"""
_MOST: Final = float(np.e)
"""Score that severity is gathered by at most: how long it lasts tells a fault from a rollout, not how large it is."""


@dataclass(frozen=True, slots=True, eq=False)
class Caution:
    """Which entities are looked at with caution.

    For `caution` seconds after a deploy of its owner an entity's scores are as low as if `false_alarms` were so many
    times rarer as `rarity` says: instances that start, empty caches and moved connections are as sudden as a fault and
    over within minutes. A fault is larger, or lasts. An incident that is open before the deploy keeps its scores, and
    so does a value outside the valid range.

    Parameters
    ----------
    rows : Flags, shape (E,)
        Whose scores are lowered.
    begins : Flags, shape (E,)
        Those of them for whom this is the first sample: severity until now was without caution.
    rarity : float
    """

    rows: Flags
    begins: Flags
    rarity: float

    @classmethod
    def of(
        cls,
        config: DeploysConfig,
        deployed: Floats | None,
        now: float | Floats,
        step: float,
        since: Floats,
        invalid: Flags,
    ) -> "Caution | None":
        """Return the caution at a sample, None where there is no reason for any.

        Parameters
        ----------
        config : DeploysConfig
        deployed : Floats, shape (E,), or None
            Unix seconds of the newest deploy, NaN without one; None: nobody had one.
        now : float, or Floats of shape (E,)
            Unix seconds of the sample.
        step : float
            Seconds since the one before.
        since : Floats, shape (E,)
            Since when an incident is open; NaN where none is.
        invalid : Flags, shape (E,)
            Values outside the valid range.
        """
        if deployed is None or config.rarity == 1:
            return None
        ago = now - deployed
        with np.errstate(invalid="ignore"):
            rows = (ago < config.caution) & ~(since < deployed - BEFORE) & ~invalid
            begins = rows & (ago < KNOWN_AFTER + step)
        return cls(rows, begins, config.rarity) if rows.any() else None

    def lowered(self, score: Floats) -> Floats:
        """Return scores, shape (E,), as incidents are opened by them."""
        return np.where(self.rows, score * self.rarity ** (-1 / KAPPA), score)

    def weighed(self, lowered: Floats) -> Floats:
        """Return lowered scores, shape (E,), as severity is gathered by them."""
        return np.where(self.rows, np.minimum(lowered, _MOST), lowered)
