"""Learns how series lie to their peers."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import Rows
from detectors.peers import usual
from detectors.peers.comparison import Comparison, is_torn
from detectors.peers.usual import FLOOR, LARGEST, OFFSET, RATIO, READY, TAILS, smallest
from detectors.types import Flags, Floats
from detectors.units import DAY, HOUR, MINUTE, WEEK

_RHYTHM: Final = 2 * HOUR
"""Time constant of what is no sudden move of a group."""
_NOISE: Final = 20 * MINUTE
"""Time constant of how far the others of a series differ now."""
_LATELY: Final = 30 * MINUTE
"""Time constant of where a series lies that is to be usual from now on."""
_DISSENT: Final = 4.0
"""Times their usual spread from which the others do not agree: nothing is learnt from them."""
_CLIP: Final = 5.0
"""Times the usual size by which a residual counts at most in what is learnt."""
_GOLDEN: Final = 0.618
"""Multiples of it lie evenly between whole numbers."""


def learn(rows: Rows, found: Comparison, values: Floats, time: float, step: float, learns: Flags) -> None:
    """Learn the samples of one moment where `learns`, shape (S,): no incident is open, and none has just ended.

    `values`, shape (E, C), `time` and the state are those of `comparison.observe`.
    """
    seen, x = found.seen, usual.clipped(values)
    there, n = seen.there, rows["peer_samples"]
    errors = usual.residuals(x, seen.lies.expected(seen.middle))
    distance = np.where(there, errors[np.arange(len(x)), seen.selected], 0.0)
    torn, noise = is_torn(rows, time, step), usual.noise_now(rows)
    new = there & (n == 0)
    for name in ("own", "theirs", "offset"):
        np.copyto(rows[f"peer_{name}"], getattr(seen.lies, name), where=new)
    settled, learns = n >= READY, there & learns
    n += learns
    first = 1.0 / np.maximum(n, 1.0)
    residual = np.where(np.isfinite(errors), errors, 0.0)
    limit = np.where(settled, _CLIP * seen.scale, np.inf)
    x = np.where(there, x, 0.0) - distance + np.clip(distance, -limit, limit)
    middle = np.where(np.isfinite(seen.middle), seen.middle, 0.0)
    spread = rows["peer_spread"]
    agree = learns & (~settled | (spread == 0) | (seen.spread <= _DISSENT * spread))
    _lie(rows, x, middle, np.isfinite(seen.middle[:, RATIO]), np.where(agree, np.maximum(first, step / DAY), 0.0))
    gain = np.where(learns, np.maximum(first, step / WEEK), 0.0)
    _stray(rows, found, x, np.abs(errors) / noise[:, None], settled, gain)

    within = np.where(settled & (spread > 0), np.minimum(seen.spread, _DISSENT * spread), seen.spread)
    spread += gain * (within - spread)
    for name, sample, span in (
        ("spread_now", within, _NOISE),
        ("slow", middle, _RHYTHM),
        ("late", residual, _LATELY),
    ):
        now = np.where(there, np.maximum(first if name != "late" else 0.0, min(step / span, 1.0)), 0.0)
        rows[f"peer_{name}"] += (now if sample.ndim == 1 else now[:, None]) * (sample - rows[f"peer_{name}"])
    for name, newest in (
        ("before", seen.middle),
        ("jump", seen.jump),
        ("mean", seen.mean),
        ("recent", np.stack([np.where(torn, np.float32(0), rows["peer_recent"][:, 1]), found.sizes[:, 0]], axis=1)),
        ("selected", seen.selected),
        ("time", np.full(len(n), time)),
    ):
        known = there if newest.ndim == 1 else there[:, None] & ~np.isnan(newest)
        np.copyto(rows[f"peer_{name}"], newest, where=known, casting="unsafe")
    second = np.flatnonzero(learns & (n == 2))
    if len(second):  # hours that end at different times spread the work that is done once an hour
        rows["peer_filled"][second] = -HOUR * np.modf(np.abs(found.sizes[second, 0]) * _GOLDEN)[0]
    TAILS.learn(rows, seen.normalised, learns, seen.active, step)


def _lie(rows: Rows, x: Floats, middle: Floats, has_ratio: Flags, gain: Floats) -> None:
    """Learn where the series lie: mean values of theirs and of the others, and the difference."""
    of_ratio = np.where(has_ratio, gain, 0.0)
    rows["peer_own"] += of_ratio * (x - rows["peer_own"])
    rows["peer_theirs"] += of_ratio * (middle[:, RATIO] - rows["peer_theirs"])
    rows["peer_offset"] += gain * (x - middle[:, OFFSET] - rows["peer_offset"])


def _stray(rows: Rows, found: Comparison, x: Floats, size: Floats, settled: Flags, gain: Floats) -> None:
    """Learn how far the series stray: `size` of both models, in units of the present noise. One without it loses."""
    seen, calm = found.seen, settled[:, None]
    rows["peer_variance"] += gain * (np.minimum((x - rows["peer_own"]) ** 2, LARGEST) - rows["peer_variance"])
    size = np.where(np.isfinite(size), size, np.abs(x)[:, None])
    least, error, square = smallest(x)[:, None], rows["peer_error"], rows["peer_square"]
    limited = np.where(calm, np.minimum(size**2, _CLIP**2 * np.maximum(square, least**2)), size**2)
    square += gain[:, None] * (limited - square)
    limited = np.where(calm, np.minimum(size, _CLIP * np.maximum(error, least)), size)
    error += gain[:, None] * (limited - error)
    of_mean = rows["peer_mean_square"]
    most = np.where(settled, _CLIP**2 * np.maximum(of_mean, FLOOR**2), np.inf)
    of_mean += gain * (np.minimum(seen.mean**2, most) - of_mean)


def close(rows: Rows, which: NDArray[np.intp], count: bool = True) -> None:
    """End the incidents of the series `which`; each counts as one event if `count`."""
    TAILS.close(rows, which, count)
    rows["peer_mean"][which] = 0.0


def rebaseline(rows: Rows, which: NDArray[np.intp]) -> None:
    """Let the series `which` be usual as they were beside their peers in the last half hour."""
    late, slow = rows["peer_late"][which], rows["peer_slow"][which, RATIO]
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = late[:, RATIO] * rows["peer_theirs"][which] / slow
    rows["peer_own"][which] += np.where(np.isfinite(moved), moved, 0.0)
    rows["peer_offset"][which] += late[:, OFFSET]
    rows["peer_late"][which] = 0.0
    rows["peer_mean"][which] = 0.0
    rows["peer_samples"][which] = np.minimum(rows["peer_samples"][which], READY)
