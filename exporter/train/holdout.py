"""What a model does with the time that was held back: the live cycle over it, counted against what is known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from detectors.types import Flags, State
from exporter.backtest.history import VerdictHistory
from exporter.backtest.quality import Figures, count, overall
from exporter.backtest.replay import Progress, replay
from exporter.labelled_incidents import LabelledIncident, label_of
from exporter.train.training_job import TrainingJob


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

    make: Callable[[Callable[..., None]], TrainingJob]
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
        job.go_on(state, begin * step)
        for verdict in replay(job, begin + 1, self.last, self.progress):
            if round(verdict.time / step) >= self.first:
                history.add(verdict)
        return history


def counted(
    name: str,
    history: VerdictHistory,
    events: Sequence[LabelledIncident],
    silences: Sequence[LabelledIncident] = (),
) -> Trial:
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
    return Trial(overall(name, every, np.nan), judged / max(present, 1), flagged / max(outside, 1))
