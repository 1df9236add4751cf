"""Calibration of component scores: the rate per week of a value this large by chance."""

from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from detectors.entity_state import Column
from detectors.types import Flags, Floats
from detectors.units import HOUR, WEEK

Rows = MutableMapping[str, NDArray[Any]]
"""State arrays of a block of rows, by column name."""
Counts = NDArray[np.float32]
"""Maxima in each bin or above, shape (N, components, BINS)."""

KAPPA: Final = 2.4
"""Exponent of the power law between a score and its rate: twice the score is about a fifth of the rate."""
PRIOR_WEEKS: Final = 2.0
"""Weight of the power law as prior, in weeks of the series' own history."""
MEMORY: Final = 4 * WEEK
"""Time constant in seconds with which history is forgotten."""
BINS: Final = 32
_LEAST: Final = 0.25
PER_OCTAVE: Final = 4
EDGES: Final[Floats] = _LEAST * 2.0 ** (np.arange(BINS) / PER_OCTAVE)
LARGEST: Final = 1e4
_TAIL_BIN, _TAIL_COUNT = 4, 5.0
"""The tail is fitted at the highest bin, at least this one, that has at least this many maxima in it or above."""


def flat(array: NDArray[Any]) -> tuple[NDArray[Any], tuple[int, ...]]:
    """Return the memory of an array from its first element on, shape (N,), and the steps of its axes there.

    Three times as fast as an index for each axis, in whatever order the axes lie.
    """
    steps = tuple(stride // array.itemsize for stride in array.strides)
    size = 1 + sum(step * (length - 1) for step, length in zip(steps, array.shape, strict=True)) if array.size else 0
    return as_strided(array, (size,), (array.itemsize,), writeable=False), steps


def _length(step: float) -> float:
    """Return the seconds of a block, whose largest value is counted."""
    return max(HOUR, 3 * step)


def bin_of(normalised: Floats) -> NDArray[np.int32]:
    """Return the bin of each value, -1 below the first bin."""
    with np.errstate(divide="ignore"):
        place = np.floor(PER_OCTAVE * np.log2(normalised / _LEAST))
    return np.asarray(np.clip(place, -1, BINS - 1), np.int32)


def _rare(law: Floats, counts: Floats, allowed: Floats) -> Flags:
    """Return which bins (last axis) hold values at most as frequent as `allowed`, both times the weeks behind them."""
    return np.asarray(law[..., None] * EDGES**-KAPPA + counts <= allowed[..., None])


def score_of(return_period: Floats) -> Floats:
    """Return the score of a return period in weeks: 1 at one event a week, and proportional to the deviation.

    Examples
    --------
    >>> score_of(np.array([0.0, 1.0, 52.0])).round(2).tolist()
    [0.0, 1.0, 5.19]
    """
    score: Floats = return_period ** (1.0 / KAPPA)
    return score


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Return periods in weeks of several component scores together, shape (R,): sums of 1 / rate.

    Parameters
    ----------
    return_period : Floats
        From the prior law and the own history.
    unpenalised : Floats
        The same without penalties for a short history or heavy tails (Y = 1).
    prior : Floats
        From the prior law alone, without any history.
    parts : Floats, shape (R, N)
        The return period of each component score; N = 0 where they were not kept.
    """

    return_period: Floats
    unpenalised: Floats
    prior: Floats
    parts: Floats | NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0)))


@dataclass(frozen=True, slots=True)
class TailRates:
    """Tail rates of the component scores of each row, from decayed histograms of hourly block maxima.

    The rate of values of at least q is (W0 Y q^-kappa + C(>=q)) / (W0 + W), the predictive rate of a Dirichlet process
    with a power law as base (Ferguson 1973, doi:10.1214/aos/1176342360). C counts block maxima and W is the weeks they
    were taken from. W0 is PRIOR_WEEKS. Y >= 1 raises the rate for short histories (the penalty) and for heavy tails.

    Parameters
    ----------
    prefix : str
        Prefix of the column names, so that one state can hold several.
    components : int
        Number of component scores per row.

    Examples
    --------
    A value never seen, twice as large as one expected once a week, is expected about every five weeks:

    >>> tails = TailRates("t_", 1)
    >>> rows = {name: column.rows(1) for name, column in tails.columns().items()}
    >>> found = tails.evidence(rows, np.array([[2.0]]), penalty=np.zeros((1, 1)))
    >>> found.return_period.round(1).tolist()
    [5.3]
    """

    prefix: str
    components: int

    _tail_columns: ClassVar[tuple[str, ...]] = ("heaviness",)
    """Columns that describe the tail of a row: what a new series inherits."""

    def columns(self, rows: tuple[int, ...] = ()) -> dict[str, Column]:
        """Return the state columns of an entity with rows of shape `rows`."""
        shape, small = (*rows, self.components), np.float32
        return {
            f"{self.prefix}counts": Column(0.0, (*shape, BINS), small, outer=1),  # maxima in this bin or above
            f"{self.prefix}beyond": Column(0.0, shape, small, added=True),  # incidents among them, far from chance
            f"{self.prefix}weeks": Column(0.0, shape, small),
            f"{self.prefix}heaviness": Column(1.0, shape, small),
            f"{self.prefix}block": Column(0.0, shape, small, outer=1),  # largest value of the current block
            f"{self.prefix}incident": Column(0.0, shape, small, outer=1),  # largest value of the open incident
            f"{self.prefix}filled": Column(0.0, rows, small),  # seconds of the current block that were learnt
        }

    def evidence(
        self, rows: Rows, normalised: Floats, penalty: Floats, which: NDArray[np.intp] | None = None
    ) -> Evidence:
        """Return the return periods of several component scores together.

        Parameters
        ----------
        rows : Rows
            State arrays of R rows.
        normalised, penalty : Floats, shape (R, N)
            Normalised deviations, 1 where a series without history reaches about once a week; the penalty added to Y.
        which : array of int, shape (R, N), optional
            Components that the values belong to; default: all in order.
        """
        power = np.minimum(normalised, LARGEST) ** KAPPA
        if which is None:
            which = np.broadcast_to(np.arange(self.components), normalised.shape)
        at = np.arange(len(normalised))[:, None] * self.components + which
        counts, (row, component, step) = flat(rows[f"{self.prefix}counts"])
        place = np.arange(len(normalised))[:, None] * row + which * component + np.maximum(bin_of(normalised), 0) * step
        seen = power * counts[place]
        weeks = power * (PRIOR_WEEKS + rows[f"{self.prefix}weeks"].reshape(-1)[at])
        law = PRIOR_WEEKS * (rows[f"{self.prefix}heaviness"].reshape(-1)[at] + penalty)
        parts = weeks / (law + seen)
        return Evidence(parts.sum(axis=1), (weeks / (PRIOR_WEEKS + seen)).sum(axis=1), power.sum(axis=1), parts)

    def quantile(self, rows: Rows, penalty: Floats, which: NDArray[np.intp], per_week: float) -> Floats:
        """Return the value, shape (R,), with rate `per_week`, to the next bin; one component `which` of each row.

        Incidents that were beyond this line do not count: one failure would widen the band for weeks.
        """
        each = np.arange(len(which))
        counts = rows[f"{self.prefix}counts"][each, which] - rows[f"{self.prefix}beyond"][each, which, None]
        law = PRIOR_WEEKS * (rows[f"{self.prefix}heaviness"][each, which] + penalty)
        allowed = per_week * (PRIOR_WEEKS + rows[f"{self.prefix}weeks"][each, which])
        rare = _rare(law, counts, allowed)
        beyond = np.maximum((law / allowed) ** (1.0 / KAPPA), EDGES[-1])
        found: Floats = np.where(rare[:, -1], EDGES[rare.argmax(axis=1)], beyond)
        return found

    def learn(
        self, rows: Rows, normalised: Floats | NDArray[np.float32], learn: Flags, active: Flags, step: float
    ) -> NDArray[np.intp]:
        """Learn the values of one sample; return the indices of rows whose block is complete.

        Parameters
        ----------
        rows : Rows
            State arrays of R rows, changed in place.
        normalised : Floats, shape (R, components)
            Normalised deviations.
        learn : Flags, shape (R,)
            Rows that learn. For the others the largest values of the incident are recorded.
        active : Flags, shape (R, components)
            Components that have enough history to be used.
        step : float
            Seconds between samples.
        """
        due = self.gather(rows, normalised, learn, step)
        self.complete(rows, due, active[due], step)
        return due

    def gather(
        self, rows: Rows, normalised: Floats | NDArray[np.float32], learn: Flags, step: float
    ) -> NDArray[np.intp]:
        """Do what `learn` does but for completed blocks: the rows that it returns are to be given to `complete`."""
        block, incident, filled = (rows[f"{self.prefix}{name}"] for name in ("block", "incident", "filled"))
        values, held = normalised.astype(np.float32), np.flatnonzero(~learn)
        before = block[held]
        np.maximum(block, values, out=block)  # `where` takes five times as long
        if len(held):
            block[held] = before
            incident[held] = np.maximum(incident[held], values[held])
        filled += step * learn
        return np.flatnonzero(filled > _length(step) - 0.5 * step)

    def complete(self, rows: Rows, due: NDArray[np.intp], active: Flags, step: float) -> None:
        """Count the complete blocks of the rows `due`, shape (N,), with the components `active`, (N, components)."""
        if not len(due):
            return
        block, weeks, length = rows[f"{self.prefix}block"], rows[f"{self.prefix}weeks"], _length(step)
        decay = np.exp(-length / MEMORY)
        weeks[due] = weeks[due] * decay + length / WEEK * active
        rows[f"{self.prefix}beyond"][due] *= np.float32(decay)
        counts = self._count(rows, due, np.where(active, block[due], 0.0), decay)
        self._complete(rows, due, counts, WEEK / length)
        block[due] = 0.0
        rows[f"{self.prefix}filled"][due] = 0.0

    def close(self, rows: Rows, which: NDArray[np.intp], count: bool = True) -> None:
        """Count the largest values of the incidents that end, as one event each unless `count` is False."""
        incident = rows[f"{self.prefix}incident"]
        if count:
            rows[f"{self.prefix}beyond"][which] += incident[which] > self._line(rows, which)
            self._count(rows, which, incident[which], 1.0)
        incident[which] = 0.0

    def _line(self, rows: Rows, which: NDArray[np.intp]) -> Floats:
        """Return the values, shape (N, components), with half an event a week, to the next bin, before penalties."""
        counts = rows[f"{self.prefix}counts"][which] - rows[f"{self.prefix}beyond"][which, :, None]
        law = PRIOR_WEEKS * rows[f"{self.prefix}heaviness"][which]
        rare = _rare(law, counts, 0.5 * (PRIOR_WEEKS + rows[f"{self.prefix}weeks"][which]))
        found: Floats = EDGES[np.where(rare[:, :, -1], rare.argmax(axis=2), BINS - 1)]
        return found

    def inherit(self, rows: Rows, row: np.intp, peers: NDArray[np.intp], weeks: float) -> None:
        """Give `row` the mean history of the rows `peers`, weighted as at most `weeks`."""
        of_peers = rows[f"{self.prefix}weeks"][peers].mean(axis=0)
        worth = np.minimum(of_peers, weeks)
        share = worth / np.maximum(of_peers, 1e-9)
        rows[f"{self.prefix}counts"][row] = rows[f"{self.prefix}counts"][peers].mean(axis=0) * share[:, None]
        rows[f"{self.prefix}beyond"][row] = rows[f"{self.prefix}beyond"][peers].mean(axis=0) * share
        rows[f"{self.prefix}weeks"][row] = worth
        for name in self._tail_columns:
            rows[f"{self.prefix}{name}"][row] = np.median(rows[f"{self.prefix}{name}"][peers], axis=0)

    def _added(self, rows: Rows, which: NDArray[np.intp], normalised: Floats, decay: float) -> Counts:
        """Count the values after the `decay` of earlier ones; return the counts, shape (N, components, BINS)."""
        bins = bin_of(normalised)
        counts: Counts = rows[f"{self.prefix}counts"][which] * np.float32(decay)
        counts += np.arange(BINS) <= bins[:, :, None]
        # Bins that no maximum has reached are not written: their memory is none.
        used = int(np.count_nonzero(counts.reshape(-1, BINS).max(axis=0, initial=0.0)))  # they never increase
        rows[f"{self.prefix}counts"][which, :, :used] = counts[:, :, :used]
        return counts

    def _complete(self, rows: Rows, which: NDArray[np.intp], counted: Counts, blocks_per_week: float) -> None:
        """Learn from the blocks of the rows `which`, whose `counted` maxima, shape (N, components, BINS), are new."""

    def _count(self, rows: Rows, which: NDArray[np.intp], normalised: Floats, decay: float) -> Counts:
        counts = self._added(rows, which, normalised, decay)
        top = (counts >= _TAIL_COUNT).sum(axis=2) - 1  # counts never increase from bin to bin
        most = np.take_along_axis(counts, np.maximum(top, 0)[:, :, None], axis=2)[:, :, 0]
        weeks = np.maximum(rows[f"{self.prefix}weeks"][which], 0.5)
        own = np.sqrt(
            most / weeks * EDGES[np.maximum(top, 0)] ** KAPPA
        )  # half-way, in logarithms, to the own power law
        rows[f"{self.prefix}heaviness"][which] = np.where(top >= _TAIL_BIN, np.maximum(own, 1.0), 1.0)
        return counts
