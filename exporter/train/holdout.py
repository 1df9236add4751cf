"""The newest part of the training time, held out to evaluate a new model: where it begins, its replay, the counts."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from detectors.types import Flags, State
from exporter.backtest.history import VerdictHistory
from exporter.backtest.quality import Figures, count, overall
from exporter.backtest.replay import Progress, replay
from exporter.config.sections.train import TrainConfig
from exporter.labelled_incidents import LabelledIncident, label_of
from exporter.pipeline.job import Job
from exporter.source.adaptive import read_whole
from exporter.train.errors import TooFew, TrainError
from exporter.train.training_job import resume

PROBES: Final = 200
"""Points that are probed to find where the samples begin, before the whole window is read."""
LONGEST_HELD: Final = 0.5
"""Largest share of the time to hold out so that it contains enough labelled incidents."""


def beginning(job: Job, first: int, last: int) -> int:
    """Return the step (number since 1970) at which the samples begin. Raises SourceError, TrainError."""
    if last - first < 2:
        raise TrainError("the time to train on is shorter than two steps; see --from, --since and train.window")
    width, coarse, begins = job.config.step, max((last - first) // PROBES, 1), []
    for query in job.reader.queries.values():
        frame, _ = read_whole(job.source, query, first * width, last * width, coarse * width, job.config.max_series)
        if len(frame.times):
            begins.append(round(float(frame.times.min()) / width))
    if not begins:
        raise TrainError(
            "the queries gave no sample in the training window; try them in Prometheus, and look at its retention"
        )
    return max(min(begins) - coarse + 1, first)


def split(first: int, last: int, step: float, events: Sequence[LabelledIncident], config: TrainConfig) -> int:
    """Return the last step to train on. More is held out where that gives enough labelled incidents to evaluate by.

    Raises TrainError.
    """
    total = last - first + 1
    at = last - max(round(config.holdout * total), 1)
    starts = sorted((each.start for each in events), reverse=True)[: config.gate.least_events]
    if starts and (wanted := math.floor(starts[-1] / step) - 1) < at:
        at = max(wanted, last - round(max(LONGEST_HELD, config.holdout) * total))
    if at <= first:
        raise TooFew("there are too few samples to hold some back; train when there are more")
    return at


@dataclass(frozen=True, slots=True)
class HoldoutResult:
    """The result of a model on the held-out time.

    Parameters
    ----------
    figures : Figures
        Of all entities together; `false` are incidents that began outside every event.
    judged : float
        Share of the samples that were scored.
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
        """Return the numbers to keep, by name."""
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
    """Replays the held-out time of a job.

    Parameters
    ----------
    make : callable
        Makes a fresh job; its argument edits the samples of the job.
    first, last : int
        Steps since 1970 of the last sample trained on, which is not counted, and of the newest one.
    progress : callable
        Called with the number of samples just replayed.
    """

    make: Callable[[Callable[..., None]], Job]
    first: int
    last: int
    progress: Progress = field(default=lambda _: None)

    def run(self, state: State, begin: int, edit: Callable[..., None]) -> VerdictHistory:
        """Evaluate the samples after step `begin` with the model that has learnt until then.

        Returns the flags from step `first` on. Raises SourceError, TrainError.
        """
        job = self.make(edit)
        step = job.config.step
        times = step * np.arange(self.first, self.last + 1, dtype=np.float64)
        history = VerdictHistory(times, step, keep=("range",))
        resume(job, state, begin * step)
        for verdict in replay(job, begin + 1, self.last, self.progress):
            if round(verdict.time / step) >= self.first:
                history.add(verdict)
        return history


def counted(
    name: str,
    history: VerdictHistory,
    events: Sequence[LabelledIncident],
    silences: Sequence[LabelledIncident] = (),
) -> HoldoutResult:
    """Count the incidents that a model opened.

    Parameters
    ----------
    name : str
        Of the job.
    history : VerdictHistory
        Its first column, the last sample trained on, is not counted.
    events, silences : sequence of LabelledIncident
        What should be found; what is neither an event nor a false incident.
    """
    every, judged, present, flagged, outside = [], 0, 0, 0, 0
    for row, key in enumerate(history.keys):
        columns = np.flatnonzero(history.present[row])
        silenced, _ = label_of(key, history.times[columns], silences)
        columns = columns[(silenced == 0) & (columns > 0)]
        if not len(columns):
            continue
        times, flag, alert = history.times[columns], history.flag[row, columns], history.alert[row, columns]
        label, _ = label_of(key, times, events)
        clean: Flags = label == 0
        judged, present = judged + int(history.ready[row, columns].sum()), present + len(columns)
        flagged, outside = flagged + int(flag[clean].sum()), outside + int(clean.sum())
        label[0] = np.nan  # one row without label: the figures leave out nothing else
        every.append(count("", times, history.step, flag, alert, label))
    return HoldoutResult(overall(name, every, np.nan), judged / max(present, 1), flagged / max(outside, 1))
