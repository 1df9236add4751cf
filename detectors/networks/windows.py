"""Windows of samples as input of the small networks: scaled by the level of each series, drawn from a history."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import Rows
from detectors.networks import online_level
from detectors.rolling_baseline import median_and_scale
from detectors.types import Batch, Flags, Floats
from detectors.units import DAY

CLIP: Final = 10.0
"""Deviations at which the network's input is clipped; the error is computed from the unclipped newest sample."""
_GRAIN: Final = 1024.0
"""Deviations are rounded to this fraction of one: the last bits depend on a series' unit and are noise."""
_OUTAGE: Final = 5.0
"""Mean deviation over `_SUDDEN` samples that marks an outage, which is not learnt as level."""
_SUDDEN: Final = 10.0
_WINSOR: Final = 10.0
"""Deviations at which samples are clipped while the level is learnt from a history."""
_LONGEST: Final = DAY
"""Longest outage in seconds; a longer deviation is a new level."""


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Input of a network: the newest L samples, in deviations from the entity's own level.

    Parameters
    ----------
    seen : array of float32, shape (N, C, L)
        Clipped deviations. A gap repeats the sample before it, or is 0, the level.
    there : Flags, shape (N, C, L)
        Where there is a sample.
    newest : Floats, shape (N, C)
        The newest sample in deviations, not clipped; NaN where there is none.
    """

    seen: NDArray[np.float32]
    there: Flags
    newest: Floats

    @classmethod
    def of(cls, values: Floats, center: Floats, scale: Floats, length: int) -> "Windows":
        """Scale samples (N, C, T) by level and spread (N, C); T is at most `length`, and shorter windows are padded."""
        with np.errstate(over="ignore", invalid="ignore"):
            deviation = (values - center[..., None]) / scale[..., None]
        there = np.isfinite(deviation)
        newest = np.where(there[:, :, -1], deviation[:, :, -1], np.nan)
        if not there.all():  # a gap repeats the sample before it; before the first one it is the level
            last = np.maximum.accumulate(np.where(there, np.arange(there.shape[2]), -1), axis=2)
            deviation = np.where(last < 0, 0.0, np.take_along_axis(deviation, np.maximum(last, 0), axis=2))
        seen = (np.rint(np.clip(deviation, -CLIP, CLIP) * _GRAIN) / _GRAIN).astype(np.float32)
        if values.shape[2] < length:
            before = ((0, 0), (0, 0), (length - values.shape[2], 0))
            seen, there = np.pad(seen, before), np.pad(there, before)
        return cls(seen, there, newest)

    def __len__(self) -> int:
        return len(self.seen)

    def __getitem__(self, which: slice | NDArray[np.intp]) -> "Windows":
        return Windows(self.seen[which], self.there[which], self.newest[which])


def draw(history: Batch, length: int, least: int, most: int, seed: int) -> Windows:
    """Return at most `most` windows at random entities and times of `history`, in order of time.

    Each window is scaled by the level learnt from the samples before its newest one, as in `score`. A channel with
    fewer than `least` samples, or in an outage, counts as missing. A window without any newest sample is dropped.
    """
    entities, channels, samples = history.values.shape
    step = float(history.times[1] - history.times[0]) if samples > 1 else 0.0
    day = int(DAY / max(step, 1.0))
    start = max(least, min(samples // 4, day))  # before that only the level is learnt
    places = entities * max(samples - start, 0)
    drawn = np.random.default_rng(seed).choice(places, min(most, places), replace=False) if places else np.empty(0, int)
    rows = {name: column.rows(entities) for name, column in online_level.columns(channels).items()}
    none = np.empty((0, channels))
    parts = [Windows.of(np.empty((0, channels, length)), none, none, length)]
    wanted = dict(_by_time(drawn, entities, start))
    away, lasted = np.zeros((entities, channels)), np.zeros((entities, channels))
    whole = median_and_scale(np.where(np.isfinite(history.values), history.values, np.nan))[:2]
    for time in range(samples):  # about 0.1 ms each; the level must be learnt in order
        x = history.values[:, :, time]
        outage = _outage(rows, whole, x, away, lasted, max(day, least), step)
        if time in wanted:
            which = wanted[time]
            center, scale = online_level.known({name: array[which] for name, array in rows.items()}, least)
            center = np.where(outage[which], np.nan, center)
            part = Windows.of(history.values[which, :, max(time + 1 - length, 0) : time + 1], center, scale, length)
            parts.append(part[np.flatnonzero(np.isfinite(part.newest).any(axis=1))])
        online_level.learn(rows, x, np.isfinite(x) & ~outage, step, _WINSOR)
    return Windows(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("seen", "there", "newest")))


def _outage(
    rows: Rows, whole: tuple[Floats, Floats], x: Floats, away: Floats, lasted: Floats, least: int, step: float
) -> Flags:
    """Return which channels (E, C) have been far from their level for some time, but for less than a day.

    A level learnt from fewer than `least` samples, a day, has not seen the daily rhythm. Until then median and spread
    of the `whole` history are used. Updates the average distance `away` and the seconds `lasted` in place.
    """
    learnt = online_level.known(rows, least)
    some = np.isfinite(learnt[0])
    center, scale = (np.where(some, one, other) for one, other in zip(learnt, whole, strict=True))
    with np.errstate(over="ignore", invalid="ignore"):
        distance = np.minimum(np.abs(x - center) / scale, _SUDDEN * _OUTAGE)
    away += np.where(np.isfinite(distance), (distance - away) / _SUDDEN, 0.0)
    lasted[...] = np.where(away > _OUTAGE, lasted + step, 0.0)
    return (away > _OUTAGE) & (lasted <= _LONGEST)


def _by_time(drawn: NDArray[np.int64], entities: int, start: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield each drawn time and the entities drawn for it."""
    ordered = np.sort(drawn)
    times, first = np.unique(ordered // max(entities, 1), return_index=True)
    yield from zip((times + start).tolist(), np.split(ordered % max(entities, 1), first[1:]), strict=False)
