"""Tail rates by a tail fitted to each row's own maxima."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import (
    BINS,
    EDGES,
    KAPPA,
    LARGEST,
    PER_OCTAVE,
    PRIOR_WEEKS,
    Counts,
    Evidence,
    Rows,
    TailRates,
    flat,
)
from detectors.entity_state import Column
from detectors.types import Floats

LINE: Final = 0.6
"""Rate per week of a single sample at the ends of the band: beyond them the score of a young series is above 1 too."""
_RARER: Final = 1.5
"""Events a week that the components' rates promise for each incident that opens: neighbouring hours and components that
are rare together are one incident. Measured on clean series of seven kinds, 3 to 22 days old: 0.4 to 0.8."""
EXPONENT: Final = 4.0
"""Exponent of the tail of a new series: between the 2.4 of failures and the 9 of light noise."""
_EXPONENTS: Final = (1.6, 16.0)
_HEAVY: Final = 0.1
"""Share of a tail with exponent KAPPA: what was never seen is possible, however light the tail seems."""
_FIT_FROM: Final = 0.25
"""The tail is fitted above the value that this share of the block maxima reaches."""
_FIT_BINS: Final = 8
"""Bins looked at above it, two octaves: one failure far out does not make the exponent."""
_FIT_PRIOR: Final = 6.0
"""Weight of EXPONENT, in maxima: a seventh of the 42 that a week has above the value."""
_RATE_PRIOR: Final = 0.3
"""Weight of the rate of a new series, in weeks."""
_SMALLEST: Final = 1e-3
_WIDTH: Final = float(np.log(2.0)) / PER_OCTAVE
_LOG_FIRST: Final = float(np.log(EDGES[0]))


def _law(logarithm: Floats, exponent: Floats | NDArray[np.float32]) -> Floats:
    """Return the rate per week; `logarithm` is that of a value over the one that is reached once a week."""
    law: Floats = (1 - _HEAVY) * np.exp(-exponent * logarithm) + _HEAVY * np.exp(-KAPPA * logarithm)
    return law


def _crossing(rate: Callable[[NDArray[np.intp]], Floats], shape: tuple[int, ...]) -> Floats:
    """Return the values of a `shape` at which rates fall to LINE, between the bins on the logarithms.

    `rate` returns the rates at EDGES of some indices. They never increase from bin to bin: six of them are enough to
    find the first rare one.
    """
    after, step = np.full(shape, BINS - 1), BINS // 2
    while step:
        after = np.where(rate(after - step) <= LINE, after - step, after)
        step //= 2
    before = np.maximum(after - 1, 0)
    high, low = rate(before), rate(after)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.clip(np.log(high / LINE) / np.log(high / low), 0.0, 1.0)
    found: Floats = EDGES[before] * 2.0 ** (np.nan_to_num(share) / PER_OCTAVE)
    return found


_REACH: Final = float(_crossing(lambda at: _law(np.log(EDGES[at]), np.full(at.shape, EXPONENT)), ()))


@dataclass(frozen=True, slots=True, eq=False)
class Law:
    """Tails of N components of R rows, shape (R, N)."""

    exponent: NDArray[np.float32]
    log_unit: NDArray[np.float32]
    weeks: NDArray[np.float32]  # behind the rate, times its correction
    most: NDArray[np.float32]  # maxima above the first edge


@dataclass(frozen=True, slots=True)
class FittedTailRates(TailRates):
    """As `TailRates`, with a law that is fitted to the row's own maxima every hour.

    The rate of values of at least q is (W0 T(q) (1 + penalty) + C(>=q)) / (W0 + W), divided by the row's correction.
    The exponent of T is the maximum likelihood estimate of a geometric tail over the logarithmic bins (Hill 1975,
    doi:10.1214/aos/1176343247) with EXPONENT as prior; a share of a heavy tail is mixed in. Light noise gets a line
    near its largest values, and what lies a little beyond them is rare; a series with failures keeps a wide one.

    Examples
    --------
    A value never seen, twice as large as one expected once a week, makes an incident about every twenty weeks:

    >>> tails = FittedTailRates("t_", 1)
    >>> rows = {name: column.rows(1) for name, column in tails.columns().items()}
    >>> found = tails.evidence(rows, np.array([[2.0]]), penalty=np.zeros((1, 1)))
    >>> found.return_period.round(1).tolist()
    [19.9]
    """

    _tail_columns: ClassVar[tuple[str, ...]] = ("exponent", "unit", "reach", "correction")

    def columns(self, rows: tuple[int, ...] = ()) -> dict[str, Column]:
        """Return the state columns of an entity with rows of shape `rows`."""
        shape, small = (*rows, self.components), np.float32
        columns = TailRates.columns(self, rows)
        del columns[f"{self.prefix}heaviness"]
        return columns | {
            f"{self.prefix}exponent": Column(EXPONENT, shape, small),
            f"{self.prefix}unit": Column(1.0, shape, small),  # value that the tail reaches once a week
            f"{self.prefix}reach": Column(_REACH, shape, small),  # value with rate LINE, without penalty
            f"{self.prefix}correction": Column(1.0, rows, small, added=True),  # factor of all return periods
        }

    def law(self, rows: Rows, which: NDArray[np.intp]) -> Law:
        """Return what is known of the components `which`, shape (R, N), before their values come."""
        each = np.arange(len(which))[:, None]
        at = each * self.components + which
        exponent, unit, weeks = (rows[f"{self.prefix}{name}"].reshape(-1)[at] for name in ("exponent", "unit", "weeks"))
        weeks = PRIOR_WEEKS + weeks
        weeks *= _RARER * rows[f"{self.prefix}correction"][:, None]
        counts, (row, component, _) = flat(rows[f"{self.prefix}counts"])
        return Law(exponent, np.log(unit), weeks, counts[each * row + which * component])

    def evidence(
        self,
        rows: Rows,
        normalised: Floats,
        penalty: Floats,
        which: NDArray[np.intp] | None = None,
        law: Law | None = None,
    ) -> Evidence:
        """Return the return periods of several component scores together; parameters as for `TailRates`.

        `law` is what `law(rows, which)` returned, if that was asked for before.
        """
        if which is None:
            which = np.broadcast_to(np.arange(self.components), normalised.shape)
        if law is None:
            law = self.law(rows, which)
        logs = np.log(np.clip(normalised, _SMALLEST, LARGEST))
        rate = PRIOR_WEEKS * _law(logs - law.log_unit, law.exponent)
        seen = self._counted(rows[f"{self.prefix}counts"], which, logs, law)
        parts = law.weeks / (rate * (1 + penalty) + seen)
        unpenalised, prior = law.weeks / (rate + seen), np.exp(KAPPA * logs)
        return Evidence(parts.sum(axis=1), unpenalised.sum(axis=1), prior.sum(axis=1), parts)

    def _counted(self, counts: NDArray[np.float32], which: NDArray[np.intp], logs: Floats, law: Law) -> Floats:
        """Return how many maxima lie above the values: inside a bin they are spread as the tail is.

        Whole bins would make light noise several times as frequent as it is. Below the first edge, where most values of
        quiet series lie, it is all of them.
        """
        found = np.empty(logs.shape[::-1])  # the rows side by side, as in `logs`
        found[...] = law.most.T
        values, inside = (np.ascontiguousarray(each.T).reshape(-1) for each in (logs, which))
        above = np.flatnonzero(values > _LOG_FIRST)
        place = np.minimum((values[above] - _LOG_FIRST) / _WIDTH, BINS - 1)
        lower = place.astype(np.intp)
        every, (row, component, step) = flat(counts)
        at = above % len(logs) * row + inside[above] * component
        most, least = every[at + lower * step], every[at + np.minimum(lower + 1, BINS - 1) * step]
        steep = np.exp(-np.ascontiguousarray(law.exponent.T).reshape(-1)[above] * _WIDTH)
        share = (steep ** (place - lower) - steep) / (1 - steep)
        found.reshape(-1)[above] = least + (most - least) * share
        return found.T

    def reach(self, rows: Rows, penalty: Floats, which: NDArray[np.intp]) -> Floats:
        """Return the value with rate LINE, shape (R,), of one component `which` of each row.

        Incidents that were beyond this line do not count: one failure would widen the band for weeks.
        """
        each = np.arange(len(which))
        reach, exponent = (rows[f"{self.prefix}{name}"][each, which] for name in ("reach", "exponent"))
        found: Floats = reach * (1 + penalty) ** (1 / exponent.astype(np.float64))
        return found

    def correct(self, rows: Rows, which: NDArray[np.intp], correction: Floats) -> None:
        """Multiply the return periods of the rows `which` by a `correction`, shape (N,), from now on; reach follows."""
        known = rows[f"{self.prefix}correction"]
        changed = which[known[which] != correction.astype(np.float32)]
        if len(changed):
            known[which] = correction
            self._refresh(rows, changed, rows[f"{self.prefix}counts"][changed])

    def close(self, rows: Rows, which: NDArray[np.intp], count: bool = True) -> None:
        """Count the largest values of the incidents that end, as one event each unless `count` is False."""
        TailRates.close(self, rows, which, count)  # super() knows the class without slots only
        self._refresh(rows, which, rows[f"{self.prefix}counts"][which])

    def _line(self, rows: Rows, which: NDArray[np.intp]) -> Floats:
        line: Floats = rows[f"{self.prefix}reach"][which]
        return line

    def _count(self, rows: Rows, which: NDArray[np.intp], normalised: Floats, decay: float) -> Counts:
        return self._added(rows, which, normalised, decay)

    def _complete(self, rows: Rows, which: NDArray[np.intp], counted: Counts, blocks_per_week: float) -> None:
        """Fit the tails of the rows `which` to their maxima."""
        weeks = rows[f"{self.prefix}weeks"][which]
        # An incident among few maxima would be half of the tail.
        failures = rows[f"{self.prefix}beyond"][which] / (1 + weeks)
        counts = np.maximum(counted - failures[:, :, None], 0.0)
        enough = counts >= _FIT_FROM * blocks_per_week * weeks[:, :, None]
        first = np.maximum(enough.sum(axis=2) - 1, 0)[:, :, None]  # counts never increase from bin to bin
        padded = np.concatenate([counts, np.zeros((*first.shape[:2], _FIT_BINS), counts.dtype)], axis=2)
        reached = np.take_along_axis(counts, first, axis=2)[:, :, 0]
        beyond = np.take_along_axis(padded, first + np.arange(1, _FIT_BINS + 1), axis=2).sum(axis=2)
        # In a geometric tail of ratio p the bins above the first hold p / (1 - p) of what the first one holds.
        ratio = np.log1p((reached + _FIT_PRIOR) / (beyond + _FIT_PRIOR / np.expm1(EXPONENT * _WIDTH)))
        exponent = np.clip(ratio / _WIDTH, *_EXPONENTS)
        edge = EDGES[first[:, :, 0]]
        rate = (reached + _RATE_PRIOR * edge**-KAPPA) / (weeks + _RATE_PRIOR)
        known = (weeks > 0) & enough[:, :, 0]  # a component that is mostly silent has no body to fit a tail to
        rows[f"{self.prefix}exponent"][which] = np.where(known, exponent, EXPONENT)
        rows[f"{self.prefix}unit"][which] = np.where(known, edge * rate ** (1 / exponent), 1.0)
        self._refresh(rows, which, counted)

    def _refresh(self, rows: Rows, which: NDArray[np.intp], counts: Counts) -> None:
        """Find the values with rate LINE of the rows `which`."""
        exponent, unit, weeks, beyond = (
            rows[f"{self.prefix}{name}"][which] for name in ("exponent", "unit", "weeks", "beyond")
        )
        weeks = (PRIOR_WEEKS + weeks) * rows[f"{self.prefix}correction"][which, None]

        def rate(at: NDArray[np.intp]) -> Floats:
            counted = np.maximum(np.take_along_axis(counts, at[:, :, None], axis=2)[:, :, 0] - beyond, 0.0)
            found: Floats = (PRIOR_WEEKS * _law(np.log(EDGES[at] / unit), exponent) + counted) / weeks
            return found

        rows[f"{self.prefix}reach"][which] = _crossing(rate, exponent.shape)
