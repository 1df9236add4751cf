"""What all jobs would have alerted: the incidents of a time range, one by one, against the budgets."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from detectors.units import WEEK
from exporter.backtest.past_incidents import PastIncident, PastIncidents
from exporter.backtest.run_prometheus import NO_SERIES, columns_of, judged
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.observe.progress import Bar
from exporter.pipeline.expectation import NO_FEEDBACK, JobFeedback
from exporter.source.errors import SourceError

COMPLETE: Final = 0
INCOMPLETE: Final = 1
"""Exit code where a job was not judged to the end."""
NOTHING: Final = 2
"""Exit code where none was."""
TOO_LITTLE: Final = "the detector needs more samples; set a longer history, or a shorter window"


@dataclass(frozen=True, slots=True)
class JobAnswer:
    """What one job would have found.

    Parameters
    ----------
    name, config
        The job and the settings it was judged with.
    past : PastIncidents
        Up to where it was judged.
    error : str
        Why it was not judged to the end; "" where it was.
    """

    name: str
    config: JobConfig
    past: PastIncidents
    error: str = ""

    @property
    def keeps_budget(self) -> bool:
        """Whether the budget decides what is an alert."""
        return self.config.alerting_metric == "alert"

    def budget(self, seconds: float) -> float:
        """Return how many alerts the budget allows in so many seconds; NaN where it does not decide."""
        return self.config.budget * seconds / WEEK if self.keeps_budget else math.nan


@dataclass(frozen=True, slots=True)
class Overview:
    """What all jobs would have found from `start` to `end` (Unix seconds)."""

    start: float
    end: float
    jobs: Sequence[JobAnswer]

    @property
    def seconds(self) -> float:
        """Length of the time range."""
        return self.end - self.start

    @property
    def incidents(self) -> list[PastIncident]:
        """Of all jobs, the earliest first."""
        found = [incident for job in self.jobs for incident in job.past.found]
        return sorted(found, key=lambda incident: (incident.start, incident.job, incident.key))

    @property
    def alerts(self) -> int:
        """Alerts that began in the time range."""
        return sum(job.past.alerts for job in self.jobs)

    @property
    def budget(self) -> float:
        """Alerts that the budgets of all jobs allow, NaN where none has one that decides."""
        known = [budget for job in self.jobs if not math.isnan(budget := job.budget(self.seconds))]
        return sum(known) if known else math.nan

    @property
    def code(self) -> int:
        """The exit code."""
        failed = sum(bool(job.error) for job in self.jobs)
        return COMPLETE if not failed else NOTHING if failed == len(self.jobs) else INCOMPLETE


def overview(
    config: Config,
    jobs: Mapping[str, JobConfig],
    start: float,
    end: float,
    hold: bool,
    heeded: Callable[[str], JobFeedback] = lambda _: NO_FEEDBACK,
    make_bar: Callable[[int], Bar] = Bar,
) -> Overview:
    """Judge the samples of `jobs` from `start` to `end` (Unix seconds), one job after the other.

    Each job heeds the answers that `heeded` has for it. `make_bar` returns what shows how many of so many samples were
    judged. A job whose samples cannot be had keeps its error, and what was judged until then. Raises InputError where
    the time range holds no sample.
    """
    spans = [columns_of(start, end, job.step) for job in jobs.values()]
    answers: list[JobAnswer] = []
    with make_bar(sum(last - first + 1 for first, last in spans)) as bar:
        for name, job in jobs.items():
            doing = name + (f" ({len(answers) + 1} of {len(jobs)})" if len(jobs) > 1 else "")
            past, error = PastIncidents(name, job), ""
            try:
                for now, verdict in judged(config, name, job, start, end, hold, bar, doing, heeded(name)):
                    past.add(verdict, now.learnt.budget)
            except (SourceError, ValueError) as failure:
                error = " ".join(str(failure).split())
            answers.append(JobAnswer(name, job, past, error or _missing(past)))
    return Overview(start, end, answers)


def _missing(past: PastIncidents) -> str:
    if not past.entities:
        return NO_SERIES
    return f"no score at all: {TOO_LITTLE}" if not past.judged else ""
