"""What a model does with the time that was held back: the live cycle over it, counted against what is known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.types import Flags, Floats, Key, State
from exporter.backtest.entity_result import Outcome
from exporter.backtest.quality import Figures, figures, overall
from exporter.backtest.replay import Progress, replay
from exporter.labelled_incidents import LabelledIncident, label_of
from exporter.pipeline.job import Job
from exporter.pipeline.verdict import Verdict
from exporter.train.training_job import Exclusions, resume

_BITS: Final = ("flag", "alert", "ready", "present", "counted")
_EMPTY: Final = np.empty(0)


class HoldoutVerdicts:
    """Verdicts on the held-back time as bits, 5 bytes per entity and column, and between what the values lay.

    `lowest` and `highest`, shape (E, C), are those outside incidents; NaN where there were none.

    Parameters
    ----------
    first : int
        Number of the first column in steps since 1970: the last sample trained on, which is not counted.
    last : int
    step : float
        Seconds.
    silenced : Exclusions
        What counts for nothing, neither as an event nor as a false incident.
    """

    def __init__(self, first: int, last: int, step: float, silenced: Exclusions) -> None:
        self.first, self.columns, self.step = first, last - first + 1, step
        self._silenced = silenced
        self._row: dict[Key, int] = {}
        self._last: tuple[tuple[Key, ...], NDArray[np.int64]] = (), np.empty(0, np.int64)
        self.bits = {name: np.zeros((0, self.columns), np.bool_) for name in _BITS}
        self.lowest: Floats = np.zeros((0, 0))
        self.highest = self.lowest

    @property
    def keys(self) -> tuple[Key, ...]:
        """Entities in the order of the rows."""
        return tuple(self._row)

    @property
    def times(self) -> Floats:
        """Unix seconds of the columns."""
        return self.step * np.arange(self.first, self.first + self.columns, dtype=np.float64)

    def add(self, verdict: Verdict) -> None:
        """Take in the verdict of one column."""
        rows, column = self._rows(verdict.keys, len(verdict.channels)), round(verdict.time / self.step) - self.first
        there = np.isfinite(verdict.values)
        found = {
            "flag": verdict.flag,
            "alert": verdict.alert,
            "ready": np.isfinite(verdict.score),
            "present": there.any(axis=1),
            "counted": ~self._silenced.concerned(verdict.keys, verdict.time),
        }
        for name, bits in found.items():
            self.bits[name][rows, column] = bits
        values = np.where(there & ~verdict.flag[:, None], verdict.values, np.nan)
        self.lowest[rows] = np.fmin(self.lowest[rows], values)
        self.highest[rows] = np.fmax(self.highest[rows], values)

    def _rows(self, keys: tuple[Key, ...], channels: int) -> NDArray[np.int64]:
        known, rows = self._last
        if keys is known:
            return rows
        rows = np.array([self._row.setdefault(key, len(self._row)) for key in keys], np.int64)
        self._last = keys, rows
        if more := len(self._row) - len(self.lowest):
            room = np.full((more, channels), np.nan)
            self.lowest = np.concatenate([self.lowest.reshape(-1, channels), room])
            self.highest = np.concatenate([self.highest.reshape(-1, channels), room])
            for name, bits in self.bits.items():
                self.bits[name] = np.concatenate([bits, np.zeros((more, self.columns), np.bool_)])
        return rows


@dataclass(frozen=True, slots=True)
class Trial:
    """What a model made of the held-back time.

    Parameters
    ----------
    figures : Figures
        Of all entities together; `false` are incidents that began outside every event.
    judged : float
        Share of the samples that got a verdict.
    flagged : float
        Share of the samples outside events with an open incident.
    faults, faults_found : int
        Injected faults, and those that opened an incident.
    """

    figures: Figures
    judged: float
    flagged: float
    faults: int = 0
    faults_found: int = 0

    def numbers(self) -> dict[str, float]:
        """Return what is worth keeping, by name."""
        of = self.figures
        return {
            "events": of.events,
            "found": of.found,
            "recall": of.recall,
            "precision": of.precision,
            "f1": of.f1,
            "false": of.false,
            "false_per_series_week": of.false_per_series_week,
            "openings_per_series_week": of.openings_per_series_week,
            "alerts_per_week": of.alerts_per_week,
            "time_to_detect": of.time_to_detect,
            "series_weeks": of.series_weeks,
            "judged": self.judged,
            "flagged": self.flagged,
            "faults": self.faults,
            "faults_found": self.faults_found,
        }


@dataclass(frozen=True, slots=True, eq=False)
class HoldoutReplay:
    """The held-back time of a job, and what is known of it.

    Parameters
    ----------
    make : callable
        Makes the job anew; it is given what edits its samples.
    first, last : int
        Steps since 1970 of the last sample trained on and of the newest one.
    events, silences : sequence of LabelledIncident
        What should be found; what counts for nothing.
    progress : callable
        Told how many samples were replayed.
    """

    make: Callable[[Callable[..., None]], Job]
    first: int
    last: int
    events: Sequence[LabelledIncident] = ()
    silences: Sequence[LabelledIncident] = ()
    progress: Progress = field(default=lambda _: None)

    def run(self, state: State, begin: int, edit: Callable[..., None]) -> HoldoutVerdicts:
        """Let a model that has learnt up to step `begin` judge what followed. Raises SourceError, TrainError."""
        job = self.make(edit)
        step = job.config.step
        held = HoldoutVerdicts(self.first, self.last, step, Exclusions(self.silences))
        resume(job, state, begin * step)
        for verdict in replay(job, begin + 1, self.last, self.progress):
            if round(verdict.time / step) >= self.first:
                held.add(verdict)
        return held


def counted(name: str, held: HoldoutVerdicts, events: Sequence[LabelledIncident]) -> Trial:
    """Count what a model found against what is known."""
    every, times, judged, present, flagged, outside = [], held.times, 0, 0, 0, 0
    for row, key in enumerate(held.keys):
        flag, alert, ready, there, counts = (held.bits[bit][row] for bit in _BITS)
        columns = np.flatnonzero(there & counts)
        columns = columns[columns > 0]
        if not len(columns):
            continue
        label, _ = label_of(key, times[columns], events)
        clean: Flags = label == 0
        judged, present = judged + int(ready[columns].sum()), present + len(columns)
        flagged, outside = flagged + int(flag[columns][clean].sum()), outside + int(clean.sum())
        label[0] = np.nan  # one row without label: the figures leave out nothing else
        every.append(figures(_outcome(key, times[columns], held.step, label, flag[columns], alert[columns])))
    return Trial(overall(name, every, np.nan), judged / max(present, 1), flagged / max(outside, 1))


def _outcome(key: Key, times: Floats, step: float, label: Floats, flag: Flags, alert: Flags) -> Outcome:
    return Outcome(
        name="",
        key=key,
        stamps=(),
        times=times,
        step=step,
        label=label,
        score=_EMPTY,
        severity=_EMPTY,
        expected=_EMPTY,
        lower=_EMPTY,
        upper=_EMPTY,
        flag=flag,
        alert=alert,
        top_channel=None,
        speed=np.nan,
        channels=(),
        values=_EMPTY,
    )
