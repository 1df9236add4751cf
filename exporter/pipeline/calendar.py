"""Days and hours that are unlike others: what a time means to a job."""

from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cached_property
from typing import Final, Protocol

import numpy as np

from detectors.seasonality import time_zone
from detectors.types import Batch, Flags, Floats
from detectors.units import MINUTE
from exporter.config.sections.alerting import TimeInterval
from exporter.config.sections.calendars import CalendarConfig
from exporter.config.sections.job import JobConfig
from exporter.config.values import MONTHS, WEEKDAYS, spans

_GRAIN: Final = MINUTE
"""Seconds: no calendar tells two times of the same minute apart."""
_KEPT: Final = 4096
"""Minutes whose meaning is remembered."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a time means to a job.

    Parameters
    ----------
    weekday : int
        The day of the week as which it is judged and learnt, 0 for Monday; -1: its own.
    learn, alert : bool
        Whether its samples are learnt, and whether an incident that begins at it may be an alert.
    notes : tuple of str
        One for each calendar that holds it, such as "germany: Christmas Day counts as sunday".
    """

    weekday: int = -1
    learn: bool = True
    alert: bool = True
    notes: tuple[str, ...] = ()


PLAIN: Final = Meaning()


class _Holidays(Protocol):
    def get(self, key: date) -> str | None: ...


class _Calendar:
    """One calendar of a job."""

    def __init__(self, config: CalendarConfig, zone: str) -> None:
        self._config, self._zone = config, time_zone(config.time_zone or zone)
        self._times = [(time_zone(interval.location), interval) for interval in config.times]

    @cached_property
    def _holidays(self) -> _Holidays:
        from holidays import country_holidays  # half a second that jobs without holidays need not wait

        found: _Holidays = country_holidays(
            self._config.country or "", subdiv=self._config.subdivision, language="en_US"
        )
        return found

    def _day(self, time: float) -> str | None:
        """Return the name of the day of a time (Unix seconds), None where it is not one of the calendar's."""
        day = datetime.fromtimestamp(time, self._zone).date()
        if any(first <= day <= last for first, last in self._config.days):
            return day.isoformat()
        return None if self._config.country is None else self._holidays.get(day)

    def _holds_hour(self, time: float) -> bool:
        return any(_inside(interval, datetime.fromtimestamp(time, zone)) for zone, interval in self._times)

    def add(self, time: float, meaning: Meaning) -> Meaning:
        """Return the meaning of a time with that of this calendar added."""
        config, day = self._config, self._day(time)
        if day is None and not self._holds_hour(time):
            return meaning
        weekday = -1 if day is None else config.weekday
        says = [
            *([f"counts as {config.counts_as}"] if weekday >= 0 else []),
            *([] if config.learn else ["is not learnt"]),
            *([] if config.alert else ["raises no alert"]),
        ]
        note = f"{config.name or 'calendar'}: {day or 'this hour'} {' and '.join(says)}" if says else ""
        return Meaning(
            meaning.weekday if meaning.weekday >= 0 else weekday,
            meaning.learn and config.learn,
            meaning.alert and config.alert,
            (*meaning.notes, note) if note else meaning.notes,
        )


class JobCalendar:
    """What every time means to a job, by all of its calendars; the first that gives a day of the week decides on that.

    Parameters
    ----------
    calendars : sequence of CalendarConfig
    zone : str
        Time zone of those without one of their own.

    Examples
    --------
    >>> from exporter.config.sections.calendars import CalendarConfig
    >>> german = CalendarConfig(name="german", country="DE", counts_as="sunday", time_zone="Europe/Berlin")
    >>> JobCalendar([german], "UTC").at(1_791_054_000.0)  # 3 October 2026, a Saturday
    Meaning(weekday=6, learn=True, alert=True, notes=('german: German Unity Day counts as sunday',))
    """

    def __init__(self, calendars: Sequence[CalendarConfig] = (), zone: str = "UTC") -> None:
        self._calendars = [_Calendar(config, zone) for config in calendars]
        self._known: dict[float, Meaning] = {}

    @classmethod
    def of(cls, job: JobConfig) -> "JobCalendar":
        """Return the calendar of a configured job; names that no configuration has resolved mean nothing."""
        return cls([c for c in job.calendars if isinstance(c, CalendarConfig)], job.time_zone)

    def at(self, time: float) -> Meaning:
        """Return what a time (Unix seconds) means."""
        if not self._calendars:
            return PLAIN
        minute = time // _GRAIN
        if (known := self._known.get(minute)) is None:
            known = PLAIN
            for calendar in self._calendars:
                known = calendar.add(time, known)
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[minute] = known
        return known

    def with_weekdays(self, batch: Batch) -> Batch:
        """Return the batch with the day of the week as which each of its samples counts."""
        if not self._calendars:
            return batch
        return replace(batch, weekdays=np.array([self.at(time).weekday for time in batch.times.tolist()], np.int8))

    def learnable(self, batch: Batch) -> Batch:
        """Return a history for a fit: with the days of the week, and without the samples that are not learnt."""
        if not self._calendars:
            return batch
        left_out = np.array([not self.at(time).learn for time in batch.times.tolist()], np.bool_)
        batch = self.with_weekdays(batch)
        return replace(batch, values=np.where(left_out, np.nan, batch.values)) if left_out.any() else batch

    def muted(self, flag: Flags, since: Floats, score: Floats, now: float) -> Flags | None:
        """Return the open incidents that are no alerts, shape (E,): they began where none is raised; None: no calendar.

        After such a time an incident that has not closed yet is one as soon as its score is above 1 again.
        """
        if not self._calendars or not flag.any():
            return None
        rows = np.flatnonzero(flag)
        times, which = np.unique(since[rows], return_inverse=True)
        began = np.array([not self.at(time).alert for time in times.tolist()], np.bool_)[which]
        with np.errstate(invalid="ignore"):
            over = self.at(now).alert & (score[rows] > 1)
        found = np.zeros(len(flag), np.bool_)
        found[rows] = began & ~over
        return found


def _inside(interval: TimeInterval, local: datetime) -> bool:
    """Tell whether a local time is in an interval, as Alertmanager reads it: all that is given must hold."""
    clock = f"{local.hour:02d}:{local.minute:02d}"
    return (
        (not interval.times or any(begin <= clock < end for text in interval.times for begin, end in spans(text)))
        and _one_of(interval.weekdays, (local.weekday() + 1) % 7, WEEKDAYS)
        and _one_of(interval.days_of_month, local.day, length=monthrange(local.year, local.month)[1])
        and _one_of(interval.months, local.month, MONTHS, first=1)
        and _one_of(interval.years, local.year)
    )


def _one_of(ranges: Sequence[str], number: int, names: Sequence[str] = (), length: int = 0, first: int = 0) -> bool:
    """Tell whether a number is in one of the ranges such as `monday:friday`, `3` or `-7:-1`; none given: it is."""

    def read(text: str) -> int:
        value = names.index(text) + first if text in names else int(text)
        return value + length + 1 if value < 0 else value

    for text in ranges:
        begin, _, end = text.partition(":")
        if read(begin) <= number <= read(end or begin):
            return True
    return not ranges
