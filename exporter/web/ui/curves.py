"""What is known of one series over a range: what the exporter remembers, and before that what the source has."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.types import Floats, Key
from detectors.units import DAY
from exporter.sinks.recent import Curves
from exporter.source.errors import SourceError
from exporter.web.ui.facts import JobFacts
from exporter.web.ui.history import History

WIDE: Final = ("value", "expected", "lower", "upper")
_NARROW: Final = ("score", "flag", "alert")
_MOST_POINTS: Final = 300


@dataclass(frozen=True, slots=True)
class Wanted:
    """One series over a range (Unix seconds); what is missing is added to `notes`."""

    job: str
    key: Key
    facts: JobFacts
    start: float
    end: float
    notes: list[str]

    @property
    def channels(self) -> Sequence[str]:
        """The channels of the job."""
        return list(self.facts.config.queries)

    @property
    def coarse(self) -> float:
        """Seconds between two samples of a range, so that a graph does not have too many."""
        step = self.facts.config.step
        return step * max(math.ceil((self.end - self.start) / step / _MOST_POINTS), 1)


def curves_of(wanted: Wanted, remembered: Curves | None, history: History) -> Curves:
    """Return what is known of a range: what is remembered counts, the source is asked only for what lies before it."""
    step = wanted.facts.config.step
    remembered = _within(remembered, wanted.start, wanted.end)
    if remembered is not None and remembered.value.shape[1] != len(wanted.channels):
        remembered = None  # of another configuration of the job
    if remembered is not None and remembered.times[0] <= wanted.start + 1.5 * step:
        return remembered
    before = wanted.end if remembered is None else float(remembered.times[0]) - step
    coarse = wanted.coarse
    older = _asked(wanted, history, max(before, wanted.start + coarse), coarse)
    if remembered is None:
        return older
    kept = older.times < remembered.times[0] - step / 2
    parts = {
        name: np.concatenate([getattr(older, name)[kept], getattr(remembered, name)])
        for name in ("times", *WIDE, *_NARROW)
    }
    return Curves(**parts)


def earlier(wanted: Wanted, history: History, times: Floats, back: float) -> Floats:
    """Return the values `back` seconds before each of `times`, shape (N, C); NaN where none is known."""
    found: Floats = np.full((len(times), len(wanted.channels)), np.nan)
    asked, step, then = wanted.facts.queries, wanted.coarse, times - back
    try:
        for at, (channel, expr) in enumerate(wanted.facts.config.queries.items()):
            query, start, end = asked.get(channel, expr), wanted.start - back, wanted.end - back
            there, values = history.values(expr, query, wanted.key, start, end, step)
            if len(there):
                row = np.rint((then - there[0]) / step).astype(np.intp)
                inside = (row >= 0) & (row < len(there))
                found[inside, at] = values[row[inside]]
    except SourceError as error:
        wanted.notes.append(f"The source did not answer for {_days(back)} earlier, which is to be laid over: {error}")
    except ValueError:
        wanted.notes.append("The labels of this series cannot be written in PromQL: nothing earlier is laid over.")
    else:
        if len(times) and np.isnan(found).all():
            wanted.notes.append(f"The source has no values of {_days(back)} earlier, which are to be laid over.")
    return found


def _days(seconds: float) -> str:
    return "a day" if seconds == DAY else "a week"


def _within(curves: Curves | None, start: float, end: float) -> Curves | None:
    """Return what is remembered of a range."""
    if curves is None:
        return None
    inside = (curves.times >= start - 1e-3) & (curves.times <= end + 1e-3)
    if not inside.any():
        return None
    return Curves(*(getattr(curves, name)[inside] for name in ("times", *WIDE, *_NARROW)))


def _asked(wanted: Wanted, history: History, end: float, step: float) -> Curves:
    """Return what the source has of a range; the notes say what it has not."""
    times: Floats = np.empty(0)
    found: dict[str, Floats] = {}
    notes, channels, key = wanted.notes, wanted.channels, wanted.key
    try:
        finest = wanted.facts.config.step
        times, found = history.published(wanted.job, key, channels, wanted.start, end, step, finest)
        if "value" not in found or np.isnan(found["value"]).all():
            asked = wanted.facts.queries
            values = [
                history.values(expr, asked.get(channel, expr), key, wanted.start, end, step)[1]
                for channel, expr in wanted.facts.config.queries.items()
            ]
            found["value"] = np.stack(values, axis=1)
            if np.isnan(found["value"]).all():
                notes.append("The source has no values of this series in this range, or in the older part of it.")
    except SourceError as error:
        notes.append(f"The source did not answer, so only what the exporter remembers is shown: {error}")
    except ValueError:
        notes.append("The labels of this series cannot be written in PromQL: only what is remembered is shown.")
    if not found.keys() & {"lower", "score"} and "value" in found and not np.isnan(found["value"]).all():
        notes.append(
            "The older part shows values only: band and score are there once Prometheus scrapes the exporter and the "
            "job publishes them (publish: [value, expected, lower, upper, alert])."
        )
    wide = {family: found.get(family, np.full((len(times), len(channels)), np.nan)) for family in WIDE}
    narrow = {family: found.get(family, np.full(len(times), np.nan)) for family in _NARROW}
    return Curves(times, **wide, **narrow)
