"""Cold start: a new series inherits profiles, volatility and tails from the mature series of its job."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.auto import evidence
from detectors.auto.forecasts import READY
from detectors.calibration import PRIOR_WEEKS, Rows
from detectors.seasonality import SeasonalTime
from detectors.types import Floats
from detectors.units import DAY

FIRST_SAMPLES: Final = 5
"""Samples of its own from which the level of a new series is estimated."""
MATURE: Final = 8 * DAY
"""Age in seconds of a mature series: it has seen every hour of the week and compared its predictors."""
_LEAST, _MOST = 3, 64  # number of peers: fewer make a poor median, more do not improve it
_TAIL_WEEKS: Final = PRIOR_WEEKS  # the peers' tails weigh as much as the power law
_WORTH: Final = 1.0 * DAY
"""Seconds of own samples that the inherited state weighs as much as."""
_PROFILES: Final = ("day", "week")


def inherit(rows: Rows, channels: int, at: SeasonalTime) -> None:
    """Let the new series among the series `rows`, `channels` per entity, inherit the state of their peers.

    Everything is scaled to the new series' own level. The level is estimated from its first samples and from the
    present values of its peers relative to their levels. Where the peers' shapes differ, the expected residual is wider
    by their difference. Without positive levels there is no scale, and only the tails are inherited.
    """
    new = np.flatnonzero((rows["seen"] == FIRST_SAMPLES) & (rows["inherited"] == 0))
    if not len(new):
        return
    mature = (rows["seen"] * at.step >= MATURE) & (at.time - rows["time"] < 2.5 * at.step)
    for channel in np.unique(new % channels):
        peers = np.flatnonzero(mature & (np.arange(len(mature)) % channels == channel))
        if len(peers) >= _LEAST:
            peers = peers[np.linspace(0, len(peers) - 1, min(len(peers), _MOST)).astype(np.intp)]
            for row in new[new % channels == channel]:  # new series are few, about 0.5 ms each
                _inherit_from(rows, row, peers, at)


def _inherit_from(rows: Rows, row: np.intp, peers: NDArray[np.intp], at: SeasonalTime) -> None:
    evidence.TAILS.inherit(rows, row, peers, _TAIL_WEEKS)
    reference = rows["reference"][peers]
    level = reference + rows["mean"][peers]
    present = reference + rows["hour_mean"][peers]
    own = rows["reference"][row] + rows["hour_mean"][row]
    if own <= 0 or (level <= 0).any() or (present <= 0).any():
        return
    usual = own / np.median(present / level)
    scale = usual / level

    def typical(values: Floats) -> Floats:
        return np.asarray(np.median(values, axis=0))

    differ = np.zeros(3)
    for p, name in enumerate(_PROFILES, 1):
        shapes = (reference[:, None] + rows[name][peers]) * scale[:, None]
        shape = typical(shapes)
        differ[p] = np.mean((shapes - shape) ** 2)
        rows[name][row] = shape - rows["reference"][row]
        # Two visits: incidents are not learnt, and after an own hour in a slot a third of its mean is the own value.
        rows[f"{name}_visits"][row] = np.minimum(typical(rows[f"{name}_visits"][peers]), 2 * at.per_hour)
    rows["variance"][row] = typical(rows["variance"][peers] * scale**2)
    squares = typical(rows["squares"][peers] * scale[:, None, None] ** 2)
    of_level = squares[:, 0] / FIRST_SAMPLES  # what the estimate of the level may be off by, in every mean
    rows["squares"][row] = squares + (differ + of_level)[:, None]
    rows["noise"][row] = typical(rows["noise"][peers] * scale[:, None])
    rows["noise_mean"][row] = typical(rows["noise_mean"][peers] * scale)
    rows["noise_square"][row] = typical(rows["noise_square"][peers] * scale**2)
    rows["noise_visits"][row] = np.minimum(typical(rows["noise_visits"][peers]), 2 * at.per_hour)
    rows["error"][row] = np.sqrt(typical(rows["error"][peers] * scale[:, None]) ** 2 + differ)
    rows["mean"][row] = usual - rows["reference"][row]
    rows["change"][row] = typical(rows["change"][peers] + np.log(scale))
    worth = max(2 * READY, _WORTH / at.step)
    rows["change_variance"][row] = typical(rows["change_variance"][peers])
    rows["selected"][row] = np.median(rows["selected"][peers]).astype(np.uint8)
    rows["compared"][row] = np.minimum(typical(rows["compared"][peers]), worth)
    rows["samples"][row] = worth
    rows["inherited"][row] = MATURE
