"""How far each series is from what the others of its group make of it, against its own usual distance from them."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import LARGEST, Evidence, Rows
from detectors.peers import usual
from detectors.peers.groups import Groups
from detectors.peers.usual import FLOOR, READY, TAILS, Lies
from detectors.types import Flags, Floats
from detectors.units import DAY, MINUTE

DEVIATIONS: Final = 6.0
"""Standard deviations that a new series reaches about once a week."""
_MEAN: Final = 10 * MINUTE
_FILLED: Final = 4.0
"""Times the mean was filled before its own deviation counts in full."""
_ONCE: Final = 2.5
"""How much less a single sample counts than two in a row: some member is the first of every common move."""
_YOUTH: Final = 4.0
"""Short-history penalty, in days: after so many days of comparing, the rate counts twice."""
MOST: Final = 1e30
"""Largest number kept in single precision."""
_LEAST: Final = 0.3
"""Component score below which nothing is worked out: its return period is a tenth of a week at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """One sample of S = E * C series beside their peers; shape (S,) unless noted.

    Parameters
    ----------
    evidence : Evidence
        Of both components together; 0 where there is none or nothing to judge by. Its parts have shape (S, 2).
    sizes : NDArray[np.float32], shape (S, 2)
        Residual and mean in standard deviations; negative below.
    side : NDArray[np.float32]
        1: all evidence lies above what the others make of the series; -1: below.
    judged : Flags
        There are a sample, enough others, and enough history.
    expected : Floats
        What the others make of the series; NaN where not judged.
    others : NDArray[np.float32]
        How many there are.
    """

    evidence: Evidence
    sizes: NDArray[np.float32]
    side: NDArray[np.float32]
    judged: Flags
    expected: Floats
    others: NDArray[np.float32]
    seen: "Seen"

    def allowed(self, rows: Rows, which: NDArray[np.intp]) -> Floats:
        """Return half the width of the band around what is expected of the series `which`; NaN where not judged."""
        of_some = {name: rows[name][which] for name in (*TAILS.columns(), "peer_samples")}
        penalty = _penalty(of_some["peer_samples"], self.seen.step)
        reach = TAILS.reach(of_some, penalty, np.zeros(len(which), np.intp)) * DEVIATIONS * self.seen.scale[which]
        return np.where(self.judged[which], reach, np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What was worked out for the learning of the same sample; shape (S,) unless noted.

    All of it is kept for every series while all others are judged: what is quickly worked out again is left out, and
    what is learnt in single precision is kept in it.
    """

    lies: Lies
    middle: Floats  # (S, 2)
    spread: Floats
    selected: NDArray[np.uint8]
    there: Flags
    step: float
    jump: NDArray[np.float32]  # (S, 2)
    scale: Floats
    mean: NDArray[np.float32]
    normalised: NDArray[np.float32]  # (S, 2)
    active: Flags  # (S, 2)


def observe(rows: Rows, groups: Groups, values: Floats, time: float, step: float, frozen: Flags) -> Comparison:
    """Compare the samples `values`, shape (E, C), of all entities with each other. Learns nothing.

    Parameters
    ----------
    rows : Rows
        State arrays of the S series.
    groups : Groups
    values : Floats, shape (E, C)
    time, step : float
        Unix seconds of the sample, and seconds between samples.
    frozen : Flags, shape (S,)
        An incident is open.
    """
    expectation = usual.expect(rows, groups, values, step, frozen)
    there, torn = expectation.there, is_torn(rows, time, step)
    jump, noise = usual.jumped(rows, expectation.middle, torn), usual.noise_now(rows)
    scale = usual.scale(rows, expectation, jump, noise)
    away = np.where(there, expectation.distance / scale, 0.0)
    recent = np.where(torn[:, None], 0.0, rows["peer_recent"])
    samples, span = rows["peer_samples"], max(_MEAN / step, 3.0)
    mean, size = _mean(rows, away, recent, torn, span, frozen)
    twice = np.where(away * recent[:, 1] > 0, np.minimum(np.abs(away), np.abs(recent[:, 1])), 0.0)
    active = there[:, None] & (samples[:, None] >= np.array([READY, max(READY, _FILLED * span)]))
    normalised = np.stack([np.maximum(twice, np.abs(away) / _ONCE), np.abs(size)], axis=1) / DEVIATIONS * active

    judged = there & (samples >= READY)
    evidence = _evidence(rows, normalised, _penalty(samples, step))
    sizes = np.clip(np.stack([away, size], axis=1), -MOST, MOST).astype(np.float32)
    period = evidence.return_period
    some = np.flatnonzero(period > 0)
    side = np.zeros(len(period), np.float32)
    side[some] = (np.sign(sizes[some]) * evidence.parts[some]).sum(axis=1) / period[some]
    return Comparison(
        evidence=evidence,
        sizes=sizes,
        side=side,
        judged=judged,
        expected=np.where(judged, expectation.expected, np.nan),
        others=expectation.count.astype(np.float32),
        seen=Seen(
            lies=expectation.lies,
            middle=expectation.middle,
            spread=expectation.spread,
            selected=expectation.selected.astype(np.uint8),
            there=there,
            step=step,
            jump=np.nan_to_num(np.minimum(jump, MOST)).astype(np.float32),
            scale=scale,
            mean=mean.astype(np.float32),
            normalised=np.minimum(normalised, MOST).astype(np.float32),
            active=active,
        ),
    )


def is_torn(rows: Rows, time: float, step: float) -> Flags:
    """Return which series have had no sample for a while at `time` (Unix seconds), shape (S,)."""
    return np.asarray(time - rows["peer_time"] > 2.5 * step)


def _penalty(samples: Floats, step: float) -> Floats:
    """Return the share by which a short history raises the rate, shape (S,)."""
    found: Floats = _YOUTH / np.maximum(samples * step / DAY, 0.05)
    return found


def _between(values: Floats, one: Floats, other: Floats) -> Floats:
    """Return the median of three, shape (S,)."""
    return np.asarray(np.clip(values, np.minimum(one, other), np.maximum(one, other)))


def _mean(rows: Rows, away: Floats, recent: Floats, torn: Flags, span: float, frozen: Flags) -> tuple[Floats, Floats]:
    """Return the mean distance over `span` samples, and its size in standard deviations of it; shape (S,) each.

    The size is limited by the median of the last three samples and counts only on its side; during an incident it does
    not count at all once they are back to half of it. Otherwise the alarm would outlast the incident.
    """
    samples, middle = rows["peer_samples"], _between(away, recent[:, 0], recent[:, 1])
    mean = np.where(torn, 0.0, rows["peer_mean"])
    mean = mean + np.maximum(1.0 / (samples + 1), 1.0 / span) * (np.clip(away, -LARGEST, LARGEST) - mean)
    share = _FILLED * span / (_FILLED * span + samples)
    deviation = np.sqrt(np.maximum(rows["peer_mean_square"], share**2))
    gated = np.where(mean * middle > 0, np.minimum(np.abs(mean), np.abs(middle)), 0.0)
    gated = np.where(frozen & (np.abs(middle) < 0.5 * np.abs(mean)), 0.0, gated)
    return mean, np.copysign(gated, mean) / np.maximum(deviation, FLOOR)


def _evidence(rows: Rows, normalised: Floats, penalty: Floats) -> Evidence:
    """Return the evidence of the component scores (S, 2); it is worked out for those that are not small."""
    total, unpenalised, prior = np.zeros((3, len(penalty)))
    found = Evidence(total, unpenalised, prior, np.zeros(normalised.shape, np.float32))
    some = np.flatnonzero((normalised > _LEAST).any(axis=1))
    if len(some):
        of_some = {name: rows[name][some] for name in TAILS.columns()}
        known = TAILS.evidence(of_some, normalised[some], np.repeat(penalty[some, None], 2, axis=1))
        for name in ("return_period", "unpenalised", "prior", "parts"):
            getattr(found, name)[some] = getattr(known, name)
    return found
