"""What a newcomer takes over from the grown-up series of its job: their rhythm, their restlessness, their tails."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.auto import evidence
from detectors.auto.forecasts import READY
from detectors.calibration import PRIOR_WEEKS, Rows
from detectors.seasonality import SeasonalTime
from detectors.types import Floats
from detectors.units import DAY

MET: Final = 5
"""Samples of its own by which a newcomer's level is told."""
GROWN: Final = 8 * DAY
"""Seconds a series must have been seen to be a model: every hour of the week, and the predictors were compared."""
_LEAST, _MOST = 3, 64  # models: a median of fewer is none, of more is no better
_TAIL_WEEKS: Final = PRIOR_WEEKS  # the models' tails weigh as much as the power law
_WORTH: Final = 1.0 * DAY
"""Seconds of own samples that what was taken over outweighs."""
_SQUARES: Final = ("square", "hour_square", "quarter_square", "variance")
_PROFILES: Final = ("day", "week")


def inherit(rows: Rows, channels: int, tick: SeasonalTime) -> None:
    """Give the newcomers among the series `rows`, `channels` to an entity, what their siblings know.

    Everything is scaled by the newcomer's own level, which is told from its first samples and from how high its
    siblings stand just now. Where siblings differ in shape, the residual to be expected is that much wider. Without
    positive levels there is no scale: only the tails are taken over then.
    """
    new = np.flatnonzero((rows["seen"] == MET) & (rows["inherited"] == 0))
    if not len(new):
        return
    grown = (rows["seen"] * tick.step >= GROWN) & (tick.time - rows["time"] < 2.5 * tick.step)
    for channel in np.unique(new % channels):
        models = np.flatnonzero(grown & (np.arange(len(grown)) % channels == channel))
        if len(models) >= _LEAST:
            models = models[np.linspace(0, len(models) - 1, min(len(models), _MOST)).astype(np.intp)]
            for row in new[new % channels == channel]:  # newcomers are few, about 0.5 ms each
                _take_over(rows, row, models, tick)


def _take_over(rows: Rows, row: np.intp, models: NDArray[np.intp], tick: SeasonalTime) -> None:
    evidence.TAILS.inherit(rows, row, models, _TAIL_WEEKS)
    reference = rows["reference"][models]
    level = reference + rows["mean"][models]
    present = reference + rows["hour_mean"][models]
    own = rows["reference"][row] + rows["hour_mean"][row]
    if own <= 0 or (level <= 0).any() or (present <= 0).any():
        return
    usual = own / np.median(present / level)
    scale = usual / level

    def typical(values: Floats) -> Floats:
        return np.asarray(np.median(values, axis=0))

    differ = np.zeros(3)
    for p, name in enumerate(_PROFILES, 1):
        shapes = (reference[:, None] + rows[name][models]) * scale[:, None]
        shape = typical(shapes)
        differ[p] = np.mean((shapes - shape) ** 2)
        rows[name][row] = shape - rows["reference"][row]
        # Two visits: an incident is not learnt, and a third of what is known after an hour of its own there is own.
        rows[f"{name}_visits"][row] = np.minimum(typical(rows[f"{name}_visits"][models]), 2 * tick.per_hour)
    for name in _SQUARES:
        power = scale**2 if rows[name].ndim == 1 else scale[:, None] ** 2
        rows[name][row] = typical(rows[name][models] * power)
    rows["square"][row] += differ
    rows["error"][row] = np.sqrt(typical(rows["error"][models] * scale[:, None]) ** 2 + differ)
    rows["mean"][row] = usual - rows["reference"][row]
    rows["change"][row] = typical(rows["change"][models] + np.log(scale))
    worth = max(2 * READY, _WORTH / tick.step)
    rows["change_variance"][row] = typical(rows["change_variance"][models])
    rows["selected"][row] = np.median(rows["selected"][models]).astype(np.uint8)
    rows["compared"][row] = np.minimum(typical(rows["compared"][models]), worth)
    rows["samples"][row] = worth
    rows["inherited"][row] = GROWN
