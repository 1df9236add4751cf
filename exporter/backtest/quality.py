"""Quality metrics: incidents compared with labelled events."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.types import Flags, Floats
from detectors.units import WEEK
from exporter.backtest.entity_result import EntityResult

PROBATION_SHARE: Final = 0.15
PROBATION_ROWS: Final = 750
"""Rows of a labelled file that are not counted where no history is marked: this share, but never more than these."""
_BRIDGED: Final = 300.0
"""Seconds, or two steps, without a flag that do not end an incident."""


@dataclass(slots=True)
class Figures:
    """Counts of one entity or of all of them; the ratios follow. NaN where there is nothing to divide by.

    Parameters
    ----------
    name : str
    labelled : bool
        Whether there are labels at all.
    events, found : int
        Labelled events, and those in which an incident was open at some row.
    false : int
        Incidents that began outside every event.
    openings, alerts : int
        Incidents, and alerts, that began.
    delays : list of float
        Seconds from the beginning of each found event to its first flagged row.
    series_weeks, weeks : float
        Time counted, summed over entities; the mean of the entities' times.
    points_per_second : float
    """

    name: str
    labelled: bool = False
    events: int = 0
    found: int = 0
    false: int = 0
    openings: int = 0
    alerts: int = 0
    delays: list[float] = field(default_factory=list)
    series_weeks: float = 0.0
    weeks: float = 0.0
    points_per_second: float = math.nan

    @property
    def recall(self) -> float:
        """Share of the events found."""
        return _ratio(self.found, self.events)

    @property
    def precision(self) -> float:
        """Events found over events found and incidents that began outside all of them."""
        return _ratio(self.found, self.found + self.false) if self.labelled else math.nan

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision."""
        return _ratio(2 * self.found, self.found + self.false + self.events) if self.events else math.nan

    @property
    def time_to_detect(self) -> float:
        """Median seconds from the beginning of an event to its first flagged row."""
        return float(np.median(self.delays)) if self.delays else math.nan

    @property
    def false_per_series_week(self) -> float:
        """Incidents outside every event, per week and entity."""
        return _ratio(self.false, self.series_weeks) if self.labelled else math.nan

    @property
    def openings_per_series_week(self) -> float:
        """Incidents per week and entity."""
        return _ratio(self.openings, self.series_weeks)

    @property
    def alerts_per_week(self) -> float:
        """Alerts per week, for all the entities together."""
        return _ratio(self.alerts, self.weeks)


def figures(result: EntityResult) -> Figures:
    """Count one entity. Rows of the leading history do not count."""
    return count(
        result.name, result.times, result.step, result.flag, result.alert, result.label, points_per_second=result.speed
    )


def count(
    name: str,
    times: Floats,
    step: float,
    flag: Flags,
    alert: Flags,
    label: Floats | None,
    points_per_second: float = math.nan,
) -> Figures:
    """Count the incidents of one entity; arrays have shape (N,), and are those of `EntityResult`."""
    first = leading(label)
    times, flag, alert = times[first:], flag[first:], alert[first:]
    weeks = float(times[-1] - times[0]) / WEEK if len(times) else 0.0
    found = Figures(name, label is not None, series_weeks=weeks, weeks=weeks, points_per_second=points_per_second)
    gap = bridge(step)
    begins = beginnings(times, flag, gap)
    found.openings, found.alerts = len(begins), len(beginnings(times, alert, gap))
    if label is None:
        return found
    inside = label[first:] == 1
    found.false = int((~inside[begins]).sum())
    for begin, end in runs(inside):
        found.events += 1
        hits = np.flatnonzero(flag[begin:end])
        if len(hits):
            found.found += 1
            found.delays.append(float(times[begin + hits[0]] - times[begin]))
    return found


def overall(name: str, every: Sequence[Figures], points_per_second: float) -> Figures:
    """Add up the figures of all entities."""
    total = Figures(name, any(each.labelled for each in every), points_per_second=points_per_second)
    for each in every:
        total.events += each.events
        total.found += each.found
        total.false += each.false
        total.openings += each.openings
        total.alerts += each.alerts
        total.delays += each.delays
        total.series_weeks += each.series_weeks
    total.weeks = total.series_weeks / max(len(every), 1)
    return total


def leading(label: Floats | None) -> int:
    """Return how many leading rows do not count: up to the last without label, or the first 15 %, 750 at most.

    None, where there are no labels at all: every row counts.
    """
    if label is None:
        return 0
    unlabelled = np.flatnonzero(np.isnan(label))
    if len(unlabelled):
        return int(unlabelled[-1]) + 1
    return math.ceil(min(math.floor(PROBATION_SHARE * len(label)), PROBATION_ROWS))


def runs(inside: Flags) -> list[tuple[int, int]]:
    """Return (first, one past the last) of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def bridge(step: float) -> float:
    """Return the seconds without a flag that do not end an incident."""
    return max(_BRIDGED, 2 * step)


def beginnings(times: Floats, flag: Flags, gap: float) -> NDArray[np.int64]:
    """Return the rows at which an incident begins; `gap` seconds without a flag do not end one."""
    on = np.flatnonzero(flag)
    return on[np.diff(times[on], prepend=-np.inf) > gap]


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
