"""The streams behind the scores of `auto`, read from what was observed: nothing here decides anything."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors import streams
from detectors.auto import evidence, forecasts, multichannel, novelty
from detectors.auto.evidence import Observation
from detectors.auto.multichannel import JointObservation
from detectors.calibration import Rows
from detectors.streams import CORRELATION, MEANS, PAIR, SECOND, STREAMS, VALUE, VOLATILITY, VOLATILITY_OF_ALL
from detectors.types import Flags, Floats, Streams
from detectors.units import WEEK

_OF_PARTS: Final = (PAIR, VOLATILITY, VALUE, *range(MEANS.start, MEANS.stop))
"""The stream of each part of `Observation.evidence`."""


def of_entities(
    rows: Rows, seen: Observation, joint: JointObservation | None, there: Flags, entities: NDArray[np.intp], step: float
) -> Streams | None:
    """Return the streams of some entities, None where there are none.

    Parameters
    ----------
    rows : Rows
        State arrays of the R series that have a sample, as they were observed.
    seen : Observation
    joint : JointObservation or None
        None: there is one channel.
    there : Flags, shape (N, C)
        Which channels of the N entities have a sample: R in all.
    entities : shape (K,)
        Indices of those that are wanted, ascending.
    step : float
        Seconds between samples.
    """
    if not len(entities):
        return None
    found = streams.blank(entities, streams.named((forecasts.spans(step) * step)[1:].tolist()))
    series = np.full(there.shape, -1)
    series[there] = np.arange(int(there.sum()))
    of_entity = series[entities]
    found.by_hour[...] = ((of_entity >= 0) & (seen.residuals.selected[of_entity] > 0)).any(axis=1)
    if joint is None:
        found.size[...], found.period[...] = _of_series(rows, seen, of_entity[:, 0], step)
        return found
    each = np.arange(len(entities))
    known = np.where(of_entity >= 0, seen.evidence.return_period[of_entity], -1.0)
    second = np.argsort(-known, axis=1, kind="stable")[:, 1]
    own = _of_series(rows, seen, of_entity[each, second], step)
    parts = joint.evidence.parts[entities] * WEEK
    sizes = multichannel.sizes(joint.normalised[entities], there.shape[1])
    components = np.zeros((len(entities), 3), np.intp)  # of the two broken correlations the stronger one
    components[:, 1], components[:, 2] = 1 + parts[:, 1:3].argmax(axis=1), 3
    there_is = np.take_along_axis(joint.normalised[entities], components, axis=1) > 0
    for target, values in ((found.size, sizes), (found.period, parts)):
        target[:, SECOND : VOLATILITY_OF_ALL + 1] = np.where(
            there_is, np.take_along_axis(values, components, axis=1), np.nan
        )
    found.size[:, SECOND] = np.where(there_is[:, 0], own[0][each, streams.strongest(*own)], np.nan)
    found.channel[:, SECOND], found.channel[:, CORRELATION] = second, joint.contribution[entities].argmax(axis=1)
    return found


def _of_series(rows: Rows, seen: Observation, which: NDArray[np.intp], step: float) -> tuple[Floats, Floats]:
    """Return size and return period of the streams of the series `which`, shape (K, streams); -1 is no series."""
    size, period = (np.full((len(which), len(STREAMS)), np.nan) for _ in range(2))
    there = np.flatnonzero(which >= 0)
    which = which[there]
    best = seen.residuals.selected[which]
    normalised, means = seen.normalised[which], seen.residuals.means[which, best]
    usual = seen.residuals.value[which, best]
    deviation, _ = forecasts.deviations(
        {name: rows[name][which] for name in ("compared", "squares")}, evidence.FLOOR * seen.sd[which], step
    )
    scale = deviation[np.arange(len(which)), best, 0] * seen.residuals.spread[which]
    x, previous = seen.x[which], seen.previous[which]
    lowest, highest = np.minimum(rows["lowest"][which], x), np.maximum(rows["highest"][which], x)
    away = seen.novelty.pair[which] * novelty.TOLERANCE * np.sqrt(2.0) * (highest - lowest) / scale
    both = [
        np.copysign(away, x + previous - 2 * usual),
        np.copysign(normalised[:, 1] * evidence.VOLATILITY, seen.change[which] - rows["change"][which]),
        *np.copysign(evidence.of_best(normalised, best) * evidence.DEVIATIONS, means).T,
    ]
    sizes = np.clip(np.stack(both, axis=1), -streams.LARGEST, streams.LARGEST)
    there_is = np.concatenate([normalised[:, :2], evidence.of_best(normalised, best)], axis=1) > 0
    for target, values in ((size, sizes), (period, seen.evidence.parts[which] * WEEK)):
        target[there[:, None], _OF_PARTS] = np.where(there_is, values, np.nan)
    return size, period
