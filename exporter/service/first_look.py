"""Verdicts at once, while a job replays a long history: by a second job that has looked at its newest hours only."""

from dataclasses import replace
from typing import Final

import structlog

from exporter.pipeline.cycle import evaluate
from exporter.pipeline.job import Job
from exporter.pipeline.verdict import Verdict

COLUMNS: Final = 360
"""Samples of each series that a first look learns from: six hours of minutes, with which an error rate that rose
70-fold was found in the first minute (decision 0013). It takes some ten seconds for 10,000 series."""
WORTH: Final = 30.0
"""Seconds that a warm-up takes at least for a first look to be worth its queries."""

log = structlog.get_logger()


class FirstLook:
    """Judges the present while `job` warms up. What it learns is thrown away when that is done.

    Parameters
    ----------
    job : Job
        In the middle of its warm-up, with a detector that learns as it goes.
    """

    def __init__(self, job: Job) -> None:
        step = job.config.step
        history = max(COLUMNS, job.window.samples) * step
        config = job.config.model_copy(update={"history": history, "forecast": None})
        self._job = Job(replace(job.settings, config=config, jobs=1), job.source)
        self._job.reader.take_over(job.reader)
        self._job.learnt.expected.answers = job.learnt.expected.answers
        self._of, self._step = job, step
        self._due, self._failed = 0.0, False

    @staticmethod
    def of(job: Job, until: float, remaining: float) -> "FirstLook | None":
        """Return a first look at a job that has so many seconds to go; None where it would be of no use.

        A model that is fitted needs its history: there is nothing to look at before.
        """
        short = job.history(until) <= 2 * max(COLUMNS, job.window.samples)
        return None if short or remaining < WORTH or not job.model.learns_as_it_goes else FirstLook(job)

    def verdict(self, now: float) -> Verdict | None:
        """Return the verdict about the newest sample at `now` (Unix seconds), None where there is no newer one.

        Never raises: the warm-up goes on without a first look.
        """
        if self._failed or now < self._due:
            return None
        self._due = (now // self._step + 1) * self._step
        try:
            verdicts = list(evaluate(self._job, now))
        except Exception as error:  # of whatever kind: the warm-up meets it too, and reports it
            self._failed = True
            hint = "the job shows no scores before its warm-up is done"
            log.warning("no_first_look", job=self._of.name, error=str(error), hint=hint)
            return None
        return verdicts[-1] if verdicts else None
