"""Which incidents of a tape are alerts, by the budget: what `AlertBudget` does sample by sample, for all at once."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import MEMORY
from detectors.types import Flags, Floats, Key
from detectors.units import WEEK
from exporter.config.sections.job import JobConfig
from exporter.pipeline.after_deploy import LASTING
from exporter.pipeline.chance import BINS, again_by, bin_of, chance_rate, least_severity, repeated, scale_at
from exporter.preview.in_trouble import InTrouble
from exporter.preview.incidents import Opened

Whole = NDArray[np.int64]
_AT_ONCE = 128
"""Columns whose rates are worked out at once: what is needed for them stays near the processor."""


@dataclass(frozen=True, slots=True, eq=False)
class Alerts:
    """What became of incidents (K) with samples (M), see `Opened`.

    Parameters
    ----------
    alert : Flags, shape (M,)
        Whether the incident is an alert at a sample.
    needed : Floats, shape (K,)
        Severity that would have made it one when it was last open without being one; NaN where it was one all along.
    """

    alert: Flags
    needed: Floats


class Budgeting:
    """Decides what is an alert.

    Parameters
    ----------
    keys : tuple of Key, length E
    there : Flags, shape (N, E)
        Which entities there were at each time.
    job : JobConfig
        Says which of them are a group, and how long a step is.
    """

    def __init__(self, keys: tuple[Key, ...], there: Flags, job: JobConfig) -> None:
        present, step = there.sum(axis=1).astype(np.float64), job.step
        self._present, self._step, self._shared = present, step, InTrouble(keys, there, job.group)
        self._decay = math.exp(-step / MEMORY)
        self._ages = np.add.accumulate(np.full(len(present), step))
        """Seconds of an entity so many samples after it joined."""
        weeks, found = 0.0, []
        for entities in present.tolist():
            weeks = weeks * self._decay + entities * step / WEEK
            found.append(weeks)
        self._weeks = np.array(found)
        self._known: tuple[Opened, Floats, Floats] | None = None

    def decide(self, opened: Opened, job: JobConfig) -> Alerts:
        """Return which incidents are alerts by the budget of `job`."""
        age = self._ages[opened.column - np.repeat(opened.joined, np.diff(opened.at))]
        known = self._known if self._known is not None and self._known[0] is opened else None
        shared = self._shared.along(opened) if known is None else known[1]
        scale = scale_at(age, shared)
        scaled = opened.severity * scale
        ended = opened.closed > 0
        after = np.minimum(opened.end, len(self._present) - 1)
        at_end = scale_at(self._ages[after - opened.joined], shared[opened.at[1:] - 1])
        closed = np.where(ended, opened.closed * at_end, 0.0)
        columns, row = np.unique(opened.column, return_inverse=True)
        if known is None:  # the rates are the same for every budget
            known = self._known = opened, shared, self._rates(columns, after[ended], closed[ended], job)
        rates = known[2]
        rate = rates[row, bin_of(scaled)]
        alert, alerts, worst = self._latched(opened, scaled, rate, closed, job)
        needed = np.full(len(opened.first), np.nan)
        last = opened.at[1:] - 1 - _last_not(alert, opened.at)
        some = np.flatnonzero(last >= opened.at[:-1])
        at = last[some]
        column = opened.column[at]
        again = repeated(alerts[at], self._weeks[column], self._present[column])
        needed[some] = least_severity(rates[row[at]], again, worst[at], scale[at], job.budget)
        careful = opened.cautious[at]
        if careful.any():
            rarer = rates[row[at]] / job.deploys.rarity
            after = np.maximum(least_severity(rarer, again, worst[at], scale[at], job.budget), LASTING)
            needed[some] = np.where(careful, after, needed[some])
        return Alerts(alert, needed)

    def _rates(self, columns: Whole, ended: Whole, closed: Floats, job: JobConfig) -> Floats:
        """Return the rates of chance incidents at some columns, shape (len(columns), BINS)."""
        order = np.argsort(ended, kind="stable")
        ended, bins = ended[order], bin_of(closed[order])
        used, place = np.unique(bins, return_inverse=True)
        count = len(self._present)
        history = np.zeros((count + 1, len(used)))  # the first row is before the first column, with nothing in it
        factors = np.full(history.shape, self._decay)
        done = 0
        for column, which in zip([*ended.tolist(), count - 1], [*place.tolist(), -1], strict=True):
            if column >= done:  # column by column the same product as in the cycle, so that it is equal to the bit
                factors[0] = history[done]
                np.multiply.accumulate(factors[: column + 2 - done], axis=0, out=history[done : column + 2])
                done = column + 1
            if which >= 0:
                history[column + 1, which] += 1.0
        rates = np.empty((len(columns), BINS))
        table = np.zeros((_AT_ONCE, BINS))
        for start in range(0, len(columns), _AT_ONCE):
            at = columns[start : start + _AT_ONCE]
            table[: len(at), used] = history[at + 1]
            weeks, present = self._weeks[at, None], self._present[at, None]
            rates[start : start + _AT_ONCE] = chance_rate(
                table[: len(at)], weeks, present, job.false_alarms, self._step
            )
        return rates

    def _latched(
        self, opened: Opened, scaled: Floats, rate: Floats, closed: Floats, job: JobConfig
    ) -> tuple[Flags, Floats, Floats]:
        """Return what is an alert, and how many alerts the entity has had and how severe they were, shape (M,)."""
        rate = np.where(opened.cautious, rate / job.deploys.rarity, rate)
        lasts, per_week = ~opened.cautious | (opened.severity >= LASTING), job.budget
        alert = (rate <= per_week) & lasts
        alerts, worst = np.zeros(len(rate)), np.zeros(len(rate))
        before: tuple[int, int] | None = None
        had, severest, since = 0.0, 0.0, 0
        for each in np.lexsort((opened.first, opened.joined, opened.entity)).tolist():
            first, end = int(opened.at[each]), int(opened.at[each + 1])
            if before != (before := (int(opened.entity[each]), int(opened.joined[each]))):
                had = severest = 0.0
            part, until = slice(first, end), int(opened.end[each])
            if had:
                column = opened.column[part] - since - 1
                seen = _decayed(np.array([had, severest]), self._decay, until - since)
                alerts[part], worst[part] = seen[column].T
                at = opened.column[part]
                again = again_by(scaled[part], worst[part], repeated(alerts[part], self._weeks[at], self._present[at]))
                alert[part] = (rate[part] + again <= per_week) & lasts[part]
            alert[part] = np.logical_or.accumulate(alert[part])
            if alert[end - 1] and closed[each] > 0:
                if had:
                    had, severest = _decayed(np.array([had, severest]), self._decay, until - since)[-1].tolist()
                had, severest, since = had + 1.0, max(severest, float(closed[each])), until
        return alert, alerts, worst


def _decayed(now: Floats, decay: float, count: int) -> Floats:
    """Return `now` multiplied by `decay` once, twice, … and so many times, shape (count, len(now))."""
    table = np.full((count + 1, len(now)), decay)
    table[0] = now
    found: Floats = np.multiply.accumulate(table, axis=0)[1:]
    return found


def _last_not(alert: Flags, at: Whole) -> Whole:
    """Return how many samples at the end of each incident are alerts: an alert stays one."""
    total = np.append(0, np.cumsum(alert))
    count: Whole = total[at[1:]] - total[at[:-1]]
    return count
