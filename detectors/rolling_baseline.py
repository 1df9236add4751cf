"""The normal level of an entity: median and spread of its recent samples, without those of incidents."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.entity_state import Column, EntityState, LazyEntityState
from detectors.stateful import Ahead, LastScore
from detectors.types import Batch, Flags, Floats, State

MAD_TO_SIGMA: Final = 1.4826
MEAN_DEVIATION_TO_SIGMA: Final = 1.2533
"""Standard deviation of a normal variable over its median absolute, and over its mean absolute deviation."""
_ROWS: Final = 512
"""Rows per block: their intermediate results stay in the processor's cache, which is three times as fast."""
_TOGETHER: Final = 16
"""Blocks with gaps whose rows are looked at together: the more, the fewer calls there are of a few rows each."""


def median_and_scale(samples: Floats) -> tuple[Floats, Floats, Floats]:
    """Return median, scale and number of samples along the last axis. NaN is ignored.

    The scale estimates a standard deviation: 1.4826 MAD, or 1.2533 times the mean absolute deviation where more than
    half of the samples are equal (Iglewicz & Hoaglin 1993, How to Detect and Handle Outliers, ISBN 0-87389-247-X).
    It is at least a millionth of the median, so that a constant series has a usable band.

    Parameters
    ----------
    samples : Floats, shape (..., T)
        Samples in any order; NaN is a missing one.

    Returns
    -------
    median, scale, count : Floats, shape (...)
        NaN, NaN, 0 where there is no sample.

    Examples
    --------
    >>> median, scale, count = median_and_scale(np.array([1.0, 2.0, 3.0, 4.0, 100.0, np.nan]))
    >>> float(median), float(scale), float(count)
    (3.0, 1.4826, 5.0)
    """
    shape, size = samples.shape[:-1], samples.shape[-1]
    middle, scale, count = (np.full(shape, fill).ravel() for fill in (np.nan, np.nan, 0.0))
    rows = samples.reshape(-1, size) if size else samples.reshape(0, 0)
    waiting: list[tuple[NDArray[np.intp], Floats]] = []
    for first in range(0, len(rows), _ROWS):
        ordered = np.sort(rows[first : first + _ROWS], axis=1)  # NaN last
        at = np.arange(first, first + len(ordered))
        if np.isnan(ordered[:, -1]).any():
            waiting.append((at, ordered))
        else:
            middle[at], scale[at], count[at] = _whole(ordered)
        if waiting and (len(waiting) == _TOGETHER or first + _ROWS >= len(rows)):
            at, ordered = (np.concatenate(parts) for parts in zip(*waiting, strict=True))
            middle[at], scale[at], count[at] = _with_gaps(ordered)
            waiting.clear()
    scale = np.maximum(scale, 1e-6 * np.abs(middle) + 1e-12)
    return middle.reshape(shape), scale.reshape(shape), count.reshape(shape)


def _whole(ordered: Floats) -> tuple[Floats, Floats, Floats]:
    """Return median, scale and count of sorted rows without NaN.

    The h samples nearest to the median are neighbours in the sorted row, so the h-th smallest deviation is the
    minimum, over all runs of h neighbours, of the larger deviation of the two ends. This avoids a second sort.
    """
    # Each place in the order side by side for all rows: arithmetic then runs over 512 neighbours instead of 60.
    place = np.ascontiguousarray(ordered.T)
    size = len(place)
    low, high = (size - 1) // 2, size // 2
    middle = 0.5 * place[low] + 0.5 * place[high]  # halved before the sum, which could overflow at 1e308
    # Ends of such runs lie on both sides of the median, or one of them on it.
    above, below = place[low:] - middle, middle - place[: high + 1]

    def smallest(h: int) -> Floats:
        nearest: Floats = np.maximum(below[: size - h + 1], above[h - 1 - low :]).min(axis=0)
        return nearest

    mad = smallest(low + 1) if low == high else 0.5 * smallest(high) + 0.5 * smallest(high + 1)
    scale = MAD_TO_SIGMA * mad
    alike = np.flatnonzero(mad == 0)
    if len(alike):
        scale[alike] = MEAN_DEVIATION_TO_SIGMA * np.abs(ordered[alike] - middle[alike, None]).mean(axis=1)
    return middle, scale, np.full(len(ordered), float(size))


def _with_gaps(ordered: Floats) -> tuple[Floats, Floats, Floats]:
    """Return median, scale and count of rows sorted with NaN last, by one call of `_whole` per number of samples."""
    count = np.isfinite(ordered).sum(axis=1)
    middle, scale = np.full(len(ordered), np.nan), np.full(len(ordered), np.nan)
    for size in np.unique(count[count > 0]):
        alike = np.flatnonzero(count == size)
        for first in range(0, len(alike), _ROWS):
            rows = alike[first : first + _ROWS]
            middle[rows], scale[rows], _ = _whole(ordered[rows, :size])
    return middle, scale, count.astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """Normal level of every entity, shape (E, C): centre and scale, NaN where not known yet, and number of samples."""

    center: Floats
    scale: Floats
    count: Floats

    def deviation(self, newest: Floats) -> Floats:
        """Return how far the newest samples (E, C) lie above the level, in standard deviations."""
        with np.errstate(over="ignore", invalid="ignore"):
            found: Floats = (newest - self.center) / self.scale
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _Before:
    """Median, scale and number of the samples before the newest one, shape (E, C).

    `unsure`, shape (N,), are the entities without a sample right before it: whether it ends a gap that is filled shows
    when it is there.
    """

    center: Floats
    scale: Floats
    count: Floats
    unsure: NDArray[np.intp]


class Baseline:
    """The normal level of every entity: its window without the newest sample and without incidents.

    While an incident is open the level stays the one before it, so an outage longer than the window does not become
    normal. The samples of an incident stay masked until they leave the window or the entity is rebaselined.

    Parameters
    ----------
    window : int
        Number of samples looked at.
    min_samples : int
        Number of samples before there is a level, at most half the window.
    """

    def __init__(self, window: int, min_samples: int) -> None:
        self._window, self.min_samples = window, min(min_samples, max(window // 2, 1))
        self._entities = LazyEntityState(self._columns, per_channel="center")
        self._until = np.nan
        self._last: LastScore[tuple[Batch, Level]] = LastScore()
        self._ahead: Ahead[_Before] = Ahead()

    def _columns(self, channels: int) -> dict[str, Column]:
        return {
            "center": Column(np.nan, (channels,)),
            "scale": Column(np.nan, (channels,)),
            "frozen": Column(False, (), np.bool_),
            "masked": Column(False, (self._window,), np.bool_),
        }

    def prepare(self, coming: Batch) -> None:
        """Compute the level at the newest sample of `coming`, which is not there yet and no part of it."""
        if len(coming.times) > 1:
            self._ahead.keep(coming, self._window_before(coming))

    def level(self, batch: Batch) -> Level:
        """Return the normal level at the newest sample of `batch`. Learns nothing."""
        known, found = self._entities.view(batch), self._window_before(batch, self._ahead.take(batch))
        fresh = (found.count >= self.min_samples) & np.isfinite(found.scale) & ~known["frozen"][:, None]
        center, scale = np.where(fresh, found.center, known["center"]), np.where(fresh, found.scale, known["scale"])
        level = Level(center, scale, found.count)
        self._last.keep(batch, (batch, level))
        return level

    def _window_before(self, batch: Batch, ahead: _Before | None = None) -> _Before:
        """Describe the window before the newest sample; of what was computed ahead only what is not sure again."""
        if ahead is not None and not len(ahead.unsure):
            return ahead
        values, rows, masked = self.without_incidents(batch)
        with np.errstate(over="ignore", invalid="ignore"):  # 1e308 may overflow to inf, and then there is no level
            if ahead is None:
                center, scale, count = median_and_scale(values[:, :, :-1])
            else:
                (center, scale, count), which = (ahead.center, ahead.scale, ahead.count), ahead.unsure
                center[which], scale[which], count[which] = median_and_scale(values[which, :, :-1])
            center[rows], scale[rows], count[rows] = median_and_scale(masked[:, :, :-1])
        return _Before(center, scale, count, np.flatnonzero(np.isnan(values[:, :, -2:-1]).any(axis=(1, 2))))

    def without_incidents(self, batch: Batch) -> tuple[Floats, NDArray[np.intp], Floats]:
        """Return the window, which rows of it hold samples of incidents, and these rows without them.

        A copy of the whole window would be 48 MB at 100,000 series, which the system clears each time.

        Returns
        -------
        values : Floats, shape (E, C, T)
            A view.
        rows : int array, shape (R,)
        normal : Floats, shape (R, C, T)
            NaN where a sample belongs to an incident, except for the newest one.
        """
        values = batch.values[:, :, -self._window :]
        masked = self._shifted(self._entities.view(batch)["masked"], batch)[:, -values.shape[2] :]
        rows = np.flatnonzero(masked[:, :-1].any(axis=1))
        normal = values[rows]
        normal[:, :, :-1][np.broadcast_to(masked[rows, None, :-1], normal[:, :, :-1].shape)] = np.nan
        return values, rows, normal

    def normal(self, batch: Batch) -> Floats:
        """Return the window, shape (E, C, T), with the samples of incidents as NaN, except for the newest sample."""
        values, rows, normal = self.without_incidents(batch)
        if len(rows):
            values = values.copy()
            values[rows] = normal
        return values

    def _shifted(self, masked: Flags, batch: Batch) -> Flags:
        """Return the mask with its last column at the newest sample of `batch`."""
        if len(batch.times) < 2 or not masked.any():
            return masked
        behind = (batch.times[-1] - self._until) / (batch.times[-1] - batch.times[-2])
        shift = int(np.clip(round(behind), 0, self._window))
        if shift == 0:
            return masked
        moved = np.zeros_like(masked)
        moved[:, : self._window - shift] = masked[:, shift:]
        return moved

    def update(self, fresh: Batch, frozen: Flags, rebaselined: Flags) -> None:
        """Store the level of entities without an incident; mask the samples of the others.

        Raises ValueError unless `level` was called for the same newest sample before.
        """
        if not len(fresh.times):
            return
        batch, level = self._last.take(fresh)
        self._ahead.drop()
        entities = self._entities.align(fresh)
        for name, learnt in (("center", level.center), ("scale", level.scale)):
            keep = frozen[:, None] & np.isfinite(entities[name])
            entities[name] = np.where(keep, entities[name], learnt)
        masked = self._shifted(entities["masked"], batch)
        # Of several new samples only the newest was scored. The others belong to an incident that was open before.
        masked[:, self._window - min(len(fresh.times), self._window) : -1] = (frozen & entities["frozen"])[:, None]
        masked[:, -1] = frozen
        entities["masked"] = masked
        _rebaseline(entities, np.flatnonzero(rebaselined), batch)
        entities["frozen"] = frozen & ~rebaselined
        self._until = float(fresh.times[-1])

    def state(self) -> State:
        """Return levels and masks; empty before the first batch."""
        state = self._entities.state()
        return state and {**state, "until": np.array([self._until])}

    def restore(self, state: State) -> None:
        """Load what `state()` returned; an empty one changes nothing. Raises ValueError when it does not fit."""
        if not state:
            return
        if "until" not in state:
            raise ValueError("the saved state holds no baseline")
        self._ahead.drop()
        self._entities.restore(state)
        self._until = float(state["until"].astype(np.float64)[0])


def _rebaseline(entities: EntityState, rows: NDArray[np.intp], batch: Batch) -> None:
    """Make the incident's samples the normal ones of the entities `rows`, and mask those before the incident.

    While the incident has too few samples, the level is their median with the scale from before.
    """
    if not len(rows):
        return
    values, masked = batch.values[rows], entities["masked"]
    values = values[:, :, -masked.shape[1] :]
    masked[rows, -1] = True
    own = np.where(masked[rows, None, -values.shape[2] :], values, np.nan)
    center, _, count = median_and_scale(own)
    entities["center"][rows] = np.where(count > 0, center, entities["center"][rows])
    masked[rows] = ~masked[rows]
