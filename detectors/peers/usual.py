"""What is usual of a series beside its peers: how it lies to them, how far it strays, and how much they differ."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import Rows
from detectors.entity_state import Column
from detectors.fitted_tails import FittedTailRates
from detectors.peers.groups import Groups
from detectors.types import Flags, Floats
from detectors.units import HOUR

READY: Final = 30
"""Samples beside its peers before a series is compared."""
RATIO, OFFSET = 0, 1
"""A series is a multiple of its peers, or lies apart from them; what fits better is used."""
FLOOR: Final = 0.05
"""Smallest deviation of a residual, as a share of the series' own standard deviation."""
LARGEST: Final = 1e100
"""Values are clipped here: the square is finite."""
_BETTER: Final = 0.8
"""The other model is selected when its mean error is below this share of the present one's."""
_COMPARED: Final = 6 * HOUR
"""Seconds before the models are compared."""
_UNLIKE: Final = 0.1
"""Share of a sudden move of the others by which a series may follow it less or more."""
_LATE: Final = 0.5
"""Share of what the others have moved by since the last sample that counts as a deviation of one that is late."""
_FADING: Final = 0.5
"""What is left of such a move after a sample."""
_QUIETEST, _LOUDEST = 0.75, 4.0
_SPARSE: Final = 6.0
"""Heaviness of the noise from which deviations grow with it: two errors at once are many deviations of a rare error."""
_HEAVIEST: Final = 12.0
_OF_NORMAL: Final = np.pi / 2
"""Mean square over squared mean size of normal noise."""
_TINY: Final = 1e-9
TAILS: Final = FittedTailRates("peer_", 2)
"""The newest residual, and its mean over ten minutes."""


def columns(channels: int) -> dict[str, Column]:
    """Return the state columns of an entity with this many channels."""
    one, two = (channels,), (channels, 2)
    return {
        "peer_samples": Column(0.0, one, np.float32),  # samples learnt beside peers
        "peer_time": Column(-np.inf, one),
        "peer_own": Column(0.0, one),  # mean value, and that of its peers in units of the group: their ratio is usual
        "peer_theirs": Column(0.0, one),
        "peer_offset": Column(0.0, one),
        "peer_slow": Column(0.0, two),  # mean of the others over hours
        "peer_before": Column(np.nan, two),  # of the last sample
        "peer_jump": Column(0.0, two, np.float32),
        "peer_error": Column(0.0, two),  # mean |residual|
        "peer_square": Column(0.0, two),  # mean square of it
        "peer_late": Column(0.0, two),  # mean residual of half an hour
        "peer_selected": Column(RATIO, one, np.uint8),
        "peer_variance": Column(0.0, one),  # of the values
        "peer_spread": Column(0.0, one),  # of the others, usually
        "peer_spread_now": Column(0.0, one),
        "peer_recent": Column(0.0, two, np.float32),  # residuals of the last two samples
        "peer_mean": Column(0.0, one, np.float32),  # of the residual, in its deviations
        "peer_mean_square": Column(0.0, one, np.float32),
        **TAILS.columns(one),
    }


@dataclass(frozen=True, slots=True, eq=False)
class Lies:
    """How S series usually lie to their peers, shape (S,) each: mean values of theirs and of the others, and apart."""

    own: Floats
    theirs: Floats
    offset: Floats

    @property
    def ratio(self) -> Floats:
        """Of the series to their peers; NaN where they are not on one side of zero."""
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Floats = np.where((self.own == 0) & (self.theirs == 0), 1.0, self.own / self.theirs)
        return np.where(np.isfinite(found) & (found >= 0), found, np.nan)

    def expected(self, middle: Floats) -> Floats:
        """Return what is expected by both models where the others are at `middle`, shape (S, 2) each."""
        return np.stack([self.ratio * middle[:, RATIO], self.offset + middle[:, OFFSET]], axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Expectation:
    """What the others make of S series at one moment; shape (S,) unless noted.

    Parameters
    ----------
    x : Floats
        The samples.
    lies : Lies
        How a series usually lies to its peers, with what is found in the first sample of a new one.
    middle : Floats, shape (S, 2)
        Median of the others by model, in units of the group.
    expected, count, spread, distance : Floats
        By the selected model: what is expected, how many others there are, how much they differ now in the unit of the
        series, and the residual, 0 where there is none.
    selected : shape (S,)
    there : Flags
        There are a sample and enough others.
    """

    x: Floats
    lies: Lies
    middle: Floats
    expected: Floats
    count: Floats
    spread: Floats
    distance: Floats
    by: Floats  # one unit of the group in the unit of the series
    selected: NDArray[np.intp]
    there: Flags


def expect(rows: Rows, groups: Groups, values: Floats, step: float, frozen: Flags) -> Expectation:
    """Ask the others of each entity what they make of it; `values` have shape (E, C), `frozen` (S,)."""
    shape, x = values.shape, clipped(values)
    lies = _lies(rows, groups, shape, x)
    ratio = lies.ratio
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        relative = (np.where(ratio > _TINY, x / ratio, np.nan), x - lies.offset)
        others = [groups.others(each.reshape(shape)) for each in relative]
        middle, spread, count = (
            np.stack([getattr(each, name).reshape(-1) for each in others], axis=1)
            for name in ("middle", "spread", "count")
        )
        expected = lies.expected(middle)
        residual = residuals(x, expected)
    each, selected = np.arange(len(x)), _select(rows, residual, step, frozen)
    by = np.where(selected == RATIO, ratio, 1.0)
    around, distance = by * spread[each, selected], residual[each, selected]
    there = np.isfinite(distance) & np.isfinite(around)
    return Expectation(
        x=x,
        lies=lies,
        middle=middle,
        expected=expected[each, selected],
        count=count[each, selected],
        spread=np.where(there, around, 0.0),
        distance=np.where(there, distance, 0.0),
        by=by,
        selected=selected,
        there=there,
    )


def clipped(values: Floats) -> Floats:
    """Return values as they are compared, shape (S,)."""
    return np.clip(values.reshape(-1), -LARGEST, LARGEST)


def residuals(x: Floats, expected: Floats) -> Floats:
    """Return how far values are from what is expected by both models, shape (S, 2)."""
    return np.clip(x[:, None] - expected, -LARGEST, LARGEST)


def _lies(rows: Rows, groups: Groups, shape: tuple[int, ...], x: Floats) -> Lies:
    """Return how series usually lie to their peers; new ones begin where the others of their group are now."""
    usual = Lies(rows["peer_own"], rows["peer_theirs"], rows["peer_offset"])
    known = rows["peer_samples"] > 0
    new = ~known & np.isfinite(x)
    if not new.any():
        return usual
    ratio, raw = usual.ratio, groups.median(x.reshape(shape)).reshape(-1)

    def of_group(values: Floats) -> Floats:
        found = groups.median(np.where(known, values, np.nan).reshape(shape)).reshape(-1)
        return np.where(np.isnan(found), raw, found)

    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        now, apart = of_group(np.where(ratio > _TINY, x / ratio, np.nan)), of_group(x - usual.offset)
    first, learnt = (x, now, x - apart), (usual.own, usual.theirs, usual.offset)
    return Lies(*(np.where(new, each, before) for each, before in zip(first, learnt, strict=True)))


def _select(rows: Rows, residual: Floats, step: float, frozen: Flags) -> NDArray[np.intp]:
    """Return the model to use, shape (S,). It does not change during an incident."""
    each, present = np.arange(len(frozen)), rows["peer_selected"].astype(np.intp)
    error, other = rows["peer_error"], 1 - present
    better = error[each, other] < _BETTER * error[each, present]
    better &= ~frozen & (rows["peer_samples"] * step >= _COMPARED)
    selected = np.where(better, other, present)
    usable = np.isfinite(residual)
    return np.where(usable[each, selected] | ~usable[each, 1 - selected], selected, 1 - selected)


def scale(rows: Rows, seen: Expectation, jump: Floats, noise: Floats) -> Floats:
    """Return the standard deviation in which distances are measured, shape (S,): the largest of several.

    It is the usual one at the present `noise`, (S,), what the others differ by now, and a part of how far they have
    moved within hours, or by a `jump`, (S, 2), just now: nobody knows who is right while a group is torn apart, and no
    two entities follow a common move alike.
    """
    each, at = np.arange(len(seen.x)), seen.selected
    square, size = rows["peer_square"][each, at], rows["peer_error"][each, at]
    heavy = np.clip(square / np.maximum(size, 1e-150) ** 2 / _OF_NORMAL, 1.0, _HEAVIEST)
    usual = np.sqrt(square) * np.maximum(heavy / _SPARSE, 1.0) * noise
    floor = np.maximum(FLOOR * np.sqrt(rows["peer_variance"]), smallest(seen.x))
    with np.errstate(invalid="ignore"):
        moved = _UNLIKE * np.abs(seen.middle[each, at] - rows["peer_slow"][each, at])
        moved = np.where(seen.there, seen.by * np.maximum(moved, _LATE * jump[each, at]), 0.0)
    found: Floats = np.maximum.reduce([usual, floor, seen.spread, moved])
    return found


def smallest(x: Floats) -> Floats:
    """Return a negligible deviation of values `x`."""
    found: Floats = 1e-6 * np.abs(np.where(np.isfinite(x), x, 0.0)) + 1e-12
    return found


def jumped(rows: Rows, middle: Floats, torn: Flags) -> Floats:
    """Return by how much the others have just moved, shape (S, 2): a member may follow some samples later."""
    before = rows["peer_before"]
    with np.errstate(invalid="ignore"):
        jump = np.where(torn[:, None] | np.isnan(before), 0.0, np.abs(middle - before))
    return np.fmax(jump, _FADING * np.where(torn[:, None], 0.0, rows["peer_jump"]))


def noise_now(rows: Rows) -> Floats:
    """Return how far the others of a series differ now, relative to usual: busy hours are louder for all of them."""
    usual = rows["peer_spread"]
    with np.errstate(divide="ignore", invalid="ignore"):
        found = rows["peer_spread_now"] / usual
    return np.where(usual > 0, np.clip(found, _QUIETEST, _LOUDEST), 1.0)
