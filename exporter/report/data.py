"""What a report tells, gathered and ready to be drawn or written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from detectors.types import Flags, Floats, Key
from detectors.units import WEEK

UNKNOWN, SILENT, JUDGED = 0, 1, 2
"""What is known of a job in a step: nothing at all; the exporter was there without a verdict; it judged."""
_STEPS: Final = {"week": 300.0, "month": 1800.0}


class ReportError(Exception):
    """There is no report; the message says why and what to do."""


class NoHistory(ReportError):
    """Prometheus answers, but has nothing of ours in the period."""


@dataclass(frozen=True, slots=True)
class Period:
    """The time that a report is about, `start` to `end` (Unix seconds), in steps of `step` seconds.

    The sample at `times[i]` speaks for the step that ends there.
    """

    name: str
    start: float
    end: float
    step: float

    @classmethod
    def until(cls, name: str, end: float) -> Self:
        """Return the week, or the calendar month, that ends at `end`; raises ReportError for another name."""
        if name not in _STEPS:
            raise ReportError(f"--period {name}: must be week or month")
        step = _STEPS[name]
        end = end // step * step
        return cls(name, end - WEEK if name == "week" else _month_before(end), end, step)

    @property
    def times(self) -> Floats:
        """Ends of the steps, Unix seconds, shape (T,)."""
        count = round((self.end - self.start) / self.step)
        return np.arange(1.0, count + 1.0) * self.step + self.start

    @property
    def weeks(self) -> float:
        """Length in weeks."""
        return (self.end - self.start) / WEEK


def _month_before(end: float) -> float:
    """Return the same time of the day a calendar month earlier, on its last day where it has no such day."""
    moment = datetime.fromtimestamp(end, UTC)
    year, month = (moment.year, moment.month - 1) if moment.month > 1 else (moment.year - 1, 12)
    for day in range(moment.day, 27, -1):
        try:
            return moment.replace(year=year, month=month, day=day).timestamp()
        except ValueError:  # the 31st of a month of 30 days
            continue
    return moment.replace(year=year, month=month).timestamp()


@dataclass(slots=True, kw_only=True)
class Incident:
    """One time in which an entity was flagged.

    Parameters
    ----------
    job, key
        The job, and the entity's labels as Prometheus has them.
    start, end : float
        Unix seconds; to a step of the period, or to a sample of the job where the audit file tells.
    peak : float
        Highest score, NaN when unknown.
    alerted : bool
        It went over the job's budget line, so people were told.
    since_before, still_open : bool
        It reaches over the beginning, or the end, of the period.
    across_gap : bool
        In between nothing is known for a while; whether it was one incident or two is a guess.
    source : str
        `prometheus`, `audit` or `both`.
    """

    job: str
    key: Key
    start: float
    end: float
    peak: float = float("nan")
    alerted: bool = False
    since_before: bool = False
    still_open: bool = False
    across_gap: bool = False
    source: str = "prometheus"

    @property
    def seconds(self) -> float:
        """Duration within the period."""
        return self.end - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Observed against expected around an incident. Arrays have shape (T,), NaN where nothing is known."""

    channel: str
    channels: int
    """How many there are; one is drawn."""
    times: Floats
    value: Floats
    expected: Floats
    lower: Floats
    upper: Floats
    flag: Flags


@dataclass(slots=True, kw_only=True)
class JobFacts:
    """What is known of one job in the period. Arrays have shape (T,), as `Period.times`."""

    name: str
    budget: float
    """Alerts a week that it may cost."""
    states: NDArray[np.int8]
    source_down: Flags
    entities: float = float("nan")
    """Most entities judged at once, NaN when unknown."""
    open: NDArray[np.int64]
    """Entities with an open incident."""
    incidents: Sequence[Incident] = ()
    alerts: int | None = None
    """Alerts that began in the period; None when `anomaly_alert` is not published."""
    counts: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """Growth of the exporter's counters, by name without prefix and by what tells their series apart."""
    events: Sequence[tuple[float, str]] = ()
    """Drift and retrains: time and text."""
    backtest: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """First and last figure of the period, by name."""
    trained: float = float("nan")
    """When its model was trained, Unix seconds."""

    @property
    def lost(self) -> bool:
        """Whether nothing at all is known of it: no number of incidents, not even 0."""
        return not self.incidents and bool((self.states == UNKNOWN).all())

    def share(self, state: int) -> float:
        """Return the share of the period spent in a state."""
        return float(np.mean(self.states == state)) if len(self.states) else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """What the audit file says; `note` is what is wrong with it, "" where nothing is."""

    intervals: Mapping[str, Mapping[Key, Sequence[tuple[float, float]]]] = field(default_factory=dict)
    rows: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything on the page."""

    period: Period
    made: float
    jobs: Sequence[JobFacts]
    incidents: Sequence[Incident]
    """Of all jobs, longest first."""
    shown: Sequence[tuple[Incident, Curves | None]]
    """The longest, with what to draw."""
    notes: Sequence[str]
    """What the reader has to know before believing the rest."""
