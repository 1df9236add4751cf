"""What all jobs would have alerted: the incidents of a time range, one by one, against the budgets."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from detectors.units import WEEK
from exporter.backtest.past_incidents import PastIncident, PastIncidents
from exporter.backtest.run_prometheus import NO_SERIES, ReplayTask, columns_of, judged
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.config.sections.service import LogConfig
from exporter.observe.logs import configure
from exporter.observe.progress import Bar
from exporter.parallel.spread import HERE, Where
from exporter.parallel.task import SpreadError
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
    where: Where = HERE,
) -> Overview:
    """Judge the samples of `jobs` from `start` to `end` (Unix seconds), one job after the other or spread out.

    Each job heeds the answers that `heeded` has for it. `make_bar` returns what shows how many of so many samples were
    judged. A job whose samples cannot be had keeps its error, and what was judged until then. Raises InputError where
    the time range holds no sample.
    """
    spans = [columns_of(start, end, job.step) for job in jobs.values()]
    tasks = [ReplayTask(config, name, job, start, end, hold, feedback=heeded(name)) for name, job in jobs.items()]
    if not where.is_here:
        return Overview(start, end, _spread(tasks, where))
    answers: list[JobAnswer] = []
    with make_bar(sum(last - first + 1 for first, last in spans)) as bar:
        for number, task in enumerate(tasks, 1):
            answers.append(_answer(task, bar, f" ({number} of {len(jobs)})" if len(jobs) > 1 else ""))
    return Overview(start, end, [_named(answer) for answer in answers])


def answer_task(task: ReplayTask) -> JobAnswer:
    """Return what a job, or a replica's part of it, would have found."""
    configure(LogConfig(format="console", level="warning"))  # a worker has set up nothing
    with Bar(0, shown=False) as bar:
        return _answer(task, bar)


def _answer(task: ReplayTask, bar: Bar, number: str = "") -> JobAnswer:
    past, error = PastIncidents(task.name, task.job), ""
    try:
        for now, verdict in judged(task, bar, task.name + number):
            past.add(verdict, now.learnt.budget)
    except (SourceError, ValueError) as failure:
        error = " ".join(str(failure).split())
    return JobAnswer(task.name, task.job, past, error)


def _spread(tasks: Sequence[ReplayTask], where: Where) -> list[JobAnswer]:
    """Return the answers about all jobs, each put together of its parts."""
    parts = [replace(task, shard=shard) for task in tasks for shard in where.parts]
    found: dict[tuple[str, int], JobAnswer] = {}
    lost = "the replay did not come back; run this again"
    try:
        for result in where.spread(answer_task, parts, "judging"):
            task = result.task
            nothing = JobAnswer(task.name, task.job, PastIncidents(task.name, task.job), result.error or lost)
            found[task.name, task.shard.index] = result.value or nothing
    except SpreadError as error:
        lost = str(error)
    answers = []
    for task in tasks:
        of_job = [found[task.name, shard.index] for shard in where.parts if (task.name, shard.index) in found]
        past = PastIncidents.joined(task.name, task.job, [answer.past for answer in of_job])
        errors = dict.fromkeys(answer.error for answer in of_job if answer.error)
        if len(of_job) < where.shards:
            errors[lost] = None
        answers.append(_named(JobAnswer(task.name, task.job, past, "; ".join(errors))))
    return answers


def _named(answer: JobAnswer) -> JobAnswer:
    """Return the answer, with a word on what is missing where there is no error."""
    return answer if answer.error else replace(answer, error=_missing(answer.past))


def _missing(past: PastIncidents) -> str:
    if not past.entities:
        return NO_SERIES
    return f"no score at all: {TOO_LITTLE}" if not past.judged else ""
