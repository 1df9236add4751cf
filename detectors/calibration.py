"""How often is a value this large expected? A posterior event rate per week for each stream of evidence."""

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.entity_state import Column
from detectors.types import Flags, Floats
from detectors.units import HOUR, WEEK

Rows = MutableMapping[str, NDArray[Any]]
"""State arrays of a block of rows, by column name."""

KAPPA: Final = 2.4
"""Exponent of the power law that the tail of a stream never seen before is assumed to follow."""
PRIOR_WEEKS: Final = 2.0
"""Weight of that assumption, in weeks of the series' own history."""
MEMORY: Final = 4 * WEEK
"""Time constant with which own history is forgotten."""
BINS: Final = 32
_LEAST, _PER_OCTAVE = 0.25, 4
EDGES: Final[Floats] = _LEAST * 2.0 ** (np.arange(BINS) / _PER_OCTAVE)
_LARGEST: Final = 1e4
_TAIL_BIN, _TAIL_COUNT = 4, 5.0
"""The tail is fitted at the highest bin, from this one up, with this many maxima in it or above."""


def _bin(q: Floats) -> NDArray[np.int32]:
    """Return the bin of each value, -1 below the first."""
    with np.errstate(divide="ignore"):
        place = np.floor(_PER_OCTAVE * np.log2(q / _LEAST))
    return np.asarray(np.clip(place, -1, BINS - 1), np.int32)


def score_of(evidence: Floats) -> Floats:
    """Return the score of an evidence of 1/rate weeks: 1 at one event a week, growing like the deviation does."""
    score: Floats = evidence ** (1.0 / KAPPA)
    return score


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What several streams say together, shape (R,): harmonic sums of their rates, as 1/rate in weeks."""

    weeks: Floats
    plain: Floats  # the same with Y = 1
    power: Floats  # the same without any history


@dataclass(frozen=True, slots=True)
class TailRates:
    """Tails of `streams` streams per row: decayed histograms of the maxima of blocks of an hour.

    The rate of values of at least q is (W0 Y q^-kappa + C(>=q)) / (W0 + W): the predictive rate of a Dirichlet process
    with a power law as base (Ferguson 1973, doi:10.1214/aos/1176342360), where C counts block maxima, W is the weeks
    they were taken from, and Y >= 1 widens the law for the young and for those whose own tail is heavier.

    Parameters
    ----------
    prefix : str
        Of the column names, so that a roster can hold several.
    streams : int
    """

    prefix: str
    streams: int

    def columns(self, rows: tuple[int, ...] = ()) -> dict[str, Column]:
        """Return the state columns of an entity of `rows` rows."""
        shape, small = (*rows, self.streams), np.float32
        return {
            f"{self.prefix}counts": Column(0.0, (*shape, BINS), small),  # maxima in this bin or above
            f"{self.prefix}weeks": Column(0.0, shape, small),
            f"{self.prefix}heaviness": Column(1.0, shape, small),
            f"{self.prefix}block": Column(0.0, shape, small),  # largest value of the current block
            f"{self.prefix}incident": Column(0.0, shape, small),  # largest value of the open incident
            f"{self.prefix}filled": Column(0.0, rows, small),  # seconds of the current block that were learnt
        }

    def evidence(self, rows: Rows, q: Floats, youth: Floats, which: NDArray[np.intp] | None = None) -> Evidence:
        """Return what the values of several streams say together.

        Parameters
        ----------
        q, youth : Floats, shape (R, N)
            Values, 1 where a stream never seen reaches about once a week; what to add to Y.
        which : array of int, shape (R, N), optional
            Streams the values belong to; default: all in order.
        """
        power = np.minimum(q, _LARGEST) ** KAPPA
        if which is None:
            which = np.broadcast_to(np.arange(self.streams), q.shape)
        at = np.arange(len(q))[:, None] * self.streams + which
        seen = power * rows[f"{self.prefix}counts"].reshape(-1)[at * BINS + np.maximum(_bin(q), 0)]
        weeks = power * (PRIOR_WEEKS + rows[f"{self.prefix}weeks"].reshape(-1)[at])
        law = PRIOR_WEEKS * (rows[f"{self.prefix}heaviness"].reshape(-1)[at] + youth)
        return Evidence(
            (weeks / (law + seen)).sum(axis=1), (weeks / (PRIOR_WEEKS + seen)).sum(axis=1), power.sum(axis=1)
        )

    def reach(self, rows: Rows, youth: Floats, which: NDArray[np.intp], per_week: float) -> Floats:
        """Return the value whose rate is `per_week`, to the next bin, for one stream of each row; shape (R,)."""
        each = np.arange(len(which))
        counts = rows[f"{self.prefix}counts"][each, which]
        law = PRIOR_WEEKS * (rows[f"{self.prefix}heaviness"][each, which] + youth)
        allowed = per_week * (PRIOR_WEEKS + rows[f"{self.prefix}weeks"][each, which])
        rare = law[:, None] * EDGES**-KAPPA + counts <= allowed[:, None]
        beyond = np.maximum((law / allowed) ** (1.0 / KAPPA), EDGES[-1])
        reached: Floats = np.where(rare[:, -1], EDGES[rare.argmax(axis=1)], beyond)
        return reached

    def learn(self, rows: Rows, q: Floats, learn: Flags, active: Flags, step: float) -> NDArray[np.intp]:
        """Take in the values of one sample; return the rows whose block is complete.

        Parameters
        ----------
        q : Floats, shape (R, streams)
        learn : Flags, shape (R,)
            Rows that learn; the incident of the others takes note of its largest values.
        active : Flags, shape (R, streams)
            Streams that exist by now.
        step : float
            Seconds between samples.
        """
        block, incident, filled = (rows[f"{self.prefix}{name}"] for name in ("block", "incident", "filled"))
        quiet = learn[:, None]
        np.maximum(block, q, out=block, where=quiet)
        if not learn.all():
            np.maximum(incident, q, out=incident, where=~quiet)
        filled += step * learn
        length = max(HOUR, 3 * step)
        due = np.flatnonzero(filled > length - 0.5 * step)
        if len(due):
            decay, there = np.exp(-length / MEMORY), active[due]
            weeks = rows[f"{self.prefix}weeks"]
            weeks[due] = weeks[due] * decay + length / WEEK * there
            self._count(rows, due, np.where(there, block[due], 0.0), decay)
            block[due] = 0.0
            filled[due] = 0.0
        return due

    def close(self, rows: Rows, which: NDArray[np.intp], count: bool = True) -> None:
        """Count the largest values of incidents that end as one event each."""
        incident = rows[f"{self.prefix}incident"]
        if count:
            self._count(rows, which, incident[which], 1.0)
        incident[which] = 0.0

    def inherit(self, rows: Rows, row: np.intp, models: NDArray[np.intp], weeks: float) -> None:
        """Give the row `row` the mean history of the rows `models`, as worth at most `weeks`."""
        of_models = rows[f"{self.prefix}weeks"][models].mean(axis=0)
        worth = np.minimum(of_models, weeks)
        share = worth / np.maximum(of_models, 1e-9)
        rows[f"{self.prefix}counts"][row] = rows[f"{self.prefix}counts"][models].mean(axis=0) * share[:, None]
        rows[f"{self.prefix}weeks"][row] = worth
        rows[f"{self.prefix}heaviness"][row] = np.median(rows[f"{self.prefix}heaviness"][models], axis=0)

    def _count(self, rows: Rows, which: NDArray[np.intp], q: Floats, decay: float) -> None:
        counts = rows[f"{self.prefix}counts"][which] * np.float32(decay)
        counts += np.arange(BINS) <= _bin(q)[:, :, None]
        rows[f"{self.prefix}counts"][which] = counts
        top = (counts >= _TAIL_COUNT).sum(axis=2) - 1  # counts never rise from bin to bin
        most = np.take_along_axis(counts, np.maximum(top, 0)[:, :, None], axis=2)[:, :, 0]
        weeks = np.maximum(rows[f"{self.prefix}weeks"][which], 0.5)
        own = np.sqrt(most / weeks * EDGES[np.maximum(top, 0)] ** KAPPA)  # half-way, in log, to the own power law
        rows[f"{self.prefix}heaviness"][which] = np.where(top >= _TAIL_BIN, np.maximum(own, 1.0), 1.0)
