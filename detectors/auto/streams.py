"""The streams behind the scores of `auto`, read from what was observed: nothing here decides anything.

What they are made of is picked block by block, while it is there, and worked out at once for all blocks: a few rows of
each, and a call of numpy costs as much as a thousand of them.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors import streams
from detectors.auto import evidence, forecasts, multichannel, novelty
from detectors.auto.evidence import Observation
from detectors.auto.multichannel import JointObservation
from detectors.calibration import Rows
from detectors.streams import CORRELATION, LARGEST, MEANS, PAIR, SECOND, STREAMS, VALUE, VOLATILITY, VOLATILITY_OF_ALL
from detectors.types import Flags, Floats, Streams
from detectors.units import WEEK

Picked = dict[str, NDArray[Any]]
"""What the streams of K entities are made of, by name: rows of theirs, and of one series of each of them."""

_OF_PARTS: Final = (PAIR, VOLATILITY, VALUE, *range(MEANS.start, MEANS.stop))
"""The stream of each part of `Observation.evidence`."""


def names(step: float) -> tuple[str, ...]:
    """Return the names of the streams of a job with `step` seconds between samples."""
    return streams.named(tuple((forecasts.spans(step) * step)[1:].tolist()))


def pick(
    rows: Rows, seen: Observation, joint: JointObservation | None, there: Flags, entities: NDArray[np.intp]
) -> Picked:
    """Return what the streams of some entities are made of.

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
        Indices of those that are wanted.
    """
    if joint is None:
        return _of_series(rows, seen, entities) | {"by_hour": seen.residuals.selected[entities] > 0}
    series = np.where(there, np.cumsum(there).reshape(there.shape) - 1, -1)[entities]
    known = np.where(series >= 0, seen.evidence.return_period[series], -1.0)
    second = np.argsort(-known, axis=1, kind="stable")[:, 1]
    own = series[np.arange(len(entities)), second]
    return _of_series(rows, seen, np.maximum(own, 0)) | {
        "by_hour": ((series >= 0) & (seen.residuals.selected[series] > 0)).any(axis=1),
        "second": second,
        "is_second": own >= 0,
        "leading": joint.contribution[entities].argmax(axis=1),
        "joint": joint.normalised[entities],
        "joint_parts": joint.evidence.parts[entities],
    }


def _of_series(rows: Rows, seen: Observation, which: NDArray[np.intp]) -> Picked:
    best = seen.residuals.selected[which]
    return {
        "normalised": seen.normalised[which],
        "parts": seen.evidence.parts[which],
        "best": best,
        "means": seen.residuals.means[which, best],
        "usual": seen.residuals.value[which, best],
        "x": seen.x[which],
        "previous": seen.previous[which],
        "change": seen.change[which] - rows["change"][which],
        "pair": seen.novelty.pair[which] * seen.span[which] / seen.scale[which],
    }


def of_entities(rows: NDArray[np.intp], parts: Sequence[Picked], channels: int, step: float) -> Streams:
    """Return the streams of the entities `rows` of a batch, of which `parts` were picked.

    `step` is the seconds between samples.
    """
    picked = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    found = streams.blank(rows, names(step))
    found.by_hour[...] = picked["by_hour"]
    size, period = _sized(picked)
    if channels == 1:
        found.size[...], found.period[...] = size, period
        return found
    each = np.arange(len(rows))
    components = np.zeros((len(rows), 3), np.intp)  # of the two broken correlations the stronger one
    components[:, 1], components[:, 2] = 1 + picked["joint_parts"][:, 1:3].argmax(axis=1), 3
    there_is = np.take_along_axis(picked["joint"], components, axis=1) > 0
    sizes = multichannel.sizes(picked["joint"], channels)
    for target, values in ((found.size, sizes), (found.period, picked["joint_parts"] * WEEK)):
        target[:, SECOND : VOLATILITY_OF_ALL + 1] = np.where(
            there_is, np.take_along_axis(values, components, axis=1), np.nan
        )
    own = size[each, streams.strongest(size, period)]
    found.size[:, SECOND] = np.where(there_is[:, 0] & picked["is_second"], own, np.nan)
    found.channel[:, SECOND], found.channel[:, CORRELATION] = picked["second"], picked["leading"]
    return found


def _sized(picked: Picked) -> tuple[Floats, Floats]:
    """Return size and return period of the streams of each series, shape (K, streams)."""
    normalised = picked["normalised"]
    of_means = evidence.of_best(normalised, picked["best"])
    x, previous, usual = picked["x"], picked["previous"], picked["usual"]
    away = picked["pair"] * (novelty.TOLERANCE * np.sqrt(2.0))
    sizes = [
        np.copysign(away, x + previous - 2 * usual),
        np.copysign(normalised[:, 1] * evidence.VOLATILITY, picked["change"]),
        *np.copysign(of_means * evidence.DEVIATIONS, picked["means"]).T,
    ]
    there_is = np.concatenate([normalised[:, :2], of_means], axis=1) > 0
    size, period = (np.full((len(x), len(STREAMS)), np.nan) for _ in range(2))
    size[:, _OF_PARTS] = np.where(there_is, np.clip(np.stack(sizes, axis=1), -LARGEST, LARGEST), np.nan)
    period[:, _OF_PARTS] = np.where(there_is, picked["parts"] * WEEK, np.nan)
    return size, period
