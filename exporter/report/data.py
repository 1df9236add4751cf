"""The data of a report, ready to be drawn or written."""

import re
from calendar import monthrange
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from detectors.types import Flags, Floats, Key
from detectors.units import DAY, HOUR, WEEK
from exporter.config.values import duration

UNKNOWN, SILENT, JUDGED = 0, 1, 2
"""State of a job in a step: nothing is known; the exporter ran without a verdict; at least one entity was judged."""
FINE_STEP: Final = 300.0
COARSE_STEP: Final = 1800.0
"""Seconds of a step in periods longer than a week."""
_LENGTHS: Final = {"day": DAY, "week": WEEK}
_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_FORMS: Final = "day, week, month, yesterday, a date such as 2026-11-27, or a length such as 3d"


class ReportError(Exception):
    """The report cannot be made; the message says why and what to do."""


class NoHistory(ReportError):
    """Prometheus answers, but has none of the exporter's metrics in the period."""


@dataclass(frozen=True, slots=True)
class Period:
    """The time that a report covers, `start` to `end` (Unix seconds), in steps of `step` seconds.

    The sample at `times[i]` stands for the step that ends there.
    """

    name: str
    start: float
    end: float
    step: float

    @classmethod
    def until(cls, name: str, end: float) -> Self:
        """Return the day, week, calendar month or other length such as 3d that ends at `end`. Raises ReportError."""
        if name == "month":
            end = end // COARSE_STEP * COARSE_STEP
            return cls(name, _month_before(end), end, COARSE_STEP)
        try:
            length = _LENGTHS.get(name) or duration(name)
        except ValueError:
            raise ReportError(f"--period {name}: must be {_FORMS}") from None
        if length < HOUR:
            raise ReportError(f"--period {name}: must be an hour at least")
        step = FINE_STEP if length <= WEEK else COARSE_STEP
        end = end // step * step
        return cls(name, end - length // step * step, end, step)

    @classmethod
    def on(cls, day: str, now: float) -> Self | None:
        """Return the day (UTC) that `yesterday` or a date names, today as far as it is over; None for other text.

        Raises ReportError for a date that there is not, or not yet.
        """
        today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if day == "yesterday":
            begin = today - timedelta(days=1)
        elif _DATE.fullmatch(day):
            try:
                begin = datetime.fromisoformat(day).replace(tzinfo=UTC)
            except ValueError as error:
                raise ReportError(f"--period {day}: {error}") from None
        else:
            return None
        start, end = begin.timestamp(), min((begin + timedelta(days=1)).timestamp(), now // FINE_STEP * FINE_STEP)
        if end <= start:
            raise ReportError(f"--period {day} has not been yet: a report covers the past")
        return cls("day", start, end, FINE_STEP)

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
    """Return the same time a calendar month earlier; on the last day of that month if it is shorter."""
    moment = datetime.fromtimestamp(end, UTC)
    year, month = (moment.year, moment.month - 1) if moment.month > 1 else (moment.year - 1, 12)
    day = min(moment.day, monthrange(year, month)[1])
    return moment.replace(year=year, month=month, day=day).timestamp()


@dataclass(slots=True, kw_only=True)
class Incident:
    """One time in which an entity was flagged.

    Parameters
    ----------
    job, key
        The job, and the entity's labels as Prometheus has them.
    start, end : float
        Unix seconds; exact to a step of the period, or to a sample of the job if the audit file has it.
    peak : float
        Highest score, NaN when unknown.
    alerted : bool
        Whether it raised an alert.
    since_before, still_open : bool
        Whether it began before the period, and whether it was open at its end.
    since : float
        When it began, where that was before the period and the audit file has it; else NaN.
    last_seen : float
        When the audit file last had it open, where its end is not known; else NaN.
    across_gap : bool
        Whether part of it is unknown; it may then have been two incidents.
    source : str
        `prometheus`, `audit` or `both`.
    deploy : str
        How long after what deploy of its owner it began, as the audit file has it; "" where it has none.
    """

    job: str
    key: Key
    start: float
    end: float
    peak: float = float("nan")
    alerted: bool = False
    since_before: bool = False
    still_open: bool = False
    since: float = float("nan")
    last_seen: float = float("nan")
    across_gap: bool = False
    source: str = "prometheus"
    deploy: str = ""

    @property
    def seconds(self) -> float:
        """Duration within the period."""
        return self.end - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Observed and expected values around an incident. Arrays have shape (T,), NaN where nothing is known."""

    channel: str
    channels: int
    """Number of channels, of which one is drawn."""
    times: Floats
    value: Floats
    expected: Floats
    lower: Floats
    upper: Floats
    flag: Flags


@dataclass(slots=True, kw_only=True)
class JobFacts:
    """The data of one job in the period. Arrays have shape (T,), as `Period.times`."""

    name: str
    budget: float
    """Alert budget: alerts a week."""
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
    """Growth of the exporter's counters, by name without prefix and by outcome, reason or method."""
    events: Sequence[tuple[float, str]] = ()
    """Drift and retrains: time and text."""
    backtest: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """First and last value of each quality metric in the period, by name."""
    trained: float = float("nan")
    """When its model was trained, Unix seconds."""

    @property
    def lost(self) -> bool:
        """Whether nothing is known of it: then the number of incidents is unknown, not 0."""
        return not self.incidents and bool((self.states == UNKNOWN).all())

    def share(self, state: int) -> float:
        """Return the share of the period spent in a state."""
        return float(np.mean(self.states == state)) if len(self.states) else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything on the page."""

    period: Period
    made: float
    jobs: Sequence[JobFacts]
    incidents: Sequence[Incident]
    """Of all jobs, longest first."""
    shown: Sequence[tuple[Incident, Curves | None]]
    """The longest incidents, with their curves."""
    notes: Sequence[str]
    """Sentences on missing data, which the reader must know first."""

    @property
    def alerts(self) -> int | None:
        """Alerts of all jobs; None when no job publishes `anomaly_alert`."""
        known = [job.alerts for job in self.jobs if job.alerts is not None]
        return sum(known) if known else None

    @property
    def budget(self) -> float:
        """Alerts that all jobs together may raise in the period."""
        return sum(job.budget for job in self.jobs) * self.period.weeks

    @property
    def entities(self) -> int:
        """Number of entities that had an incident."""
        return len({(incident.job, incident.key) for incident in self.incidents})

    @property
    def judged(self) -> float:
        """Mean share of the period in which a job was judged, 0 to 1."""
        return float(np.mean([job.share(JUDGED) for job in self.jobs]))
