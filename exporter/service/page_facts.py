"""What the pages may know of the running exporter."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from detectors.types import Key
from exporter.context.deploy_book import DeployBook, questions
from exporter.context.deploys import Deploy
from exporter.context.owners import belongs
from exporter.observe.metrics import SelfMetrics
from exporter.observe.stages import Telemetry
from exporter.pipeline.reaches import Cone
from exporter.preview.workbench import Workbench
from exporter.service.active import Active
from exporter.service.job_details import details_of
from exporter.service.model_choice import activate
from exporter.sinks.feedback_book import FeedbackBook
from exporter.sinks.incident_log import IncidentLog
from exporter.sinks.joint_log import JointLog
from exporter.sinks.latest import LatestVerdicts
from exporter.sinks.notify.notifier import Notifier
from exporter.sinks.recent import RecentVerdicts
from exporter.sinks.registry import Sinks
from exporter.source.samples import RangeResult
from exporter.web.ui.facts import Discovered, Facts, JobFacts, Running

_MOST_SERIES: Final = 200
"""Series in one answer: a page draws one, of several channels and families."""


class PageFacts:
    """Collects it.

    Parameters
    ----------
    active : callable returning Active
        What runs now.
    telemetry : Telemetry
    metrics : SelfMetrics
        Tell what a job has cost.
    deploys : DeployBook
    discovered : callable returning Discovered
    """

    def __init__(
        self,
        active: Callable[[], Active],
        telemetry: Telemetry,
        metrics: SelfMetrics,
        deploys: DeployBook,
        discovered: Callable[[], Discovered] = Discovered,
    ) -> None:
        self._active, self._telemetry, self._deploys, self._discovered = active, telemetry, deploys, discovered
        self._details = partial(details_of, active, metrics)
        self._started = self._loaded = time.time()
        self._refused = ""
        self.bench = Workbench(lambda: active().loaded.config, lambda: active().source)
        """Replays that people try jobs with; none runs before one is asked for."""

    def note_load(self, refused: str) -> None:
        """Note how a load of the configuration went: "" where it worked, else why it was refused."""
        self._refused = refused
        if not refused:
            self._loaded = time.time()

    def running(self, sinks: Sinks, answers: FeedbackBook) -> Running:
        """Return where the pages look."""
        feed, recent, incidents = sinks.one(LatestVerdicts), sinks.one(RecentVerdicts), sinks.one(IncidentLog)
        sent = sinks.one(Notifier).sent
        bench = self.bench if self._active().loaded.config.web.offers_workbench else None
        return Running(
            self.facts, feed, recent, incidents, self.read, answers, sent, bench, self._details,
            partial(activate, self._active), self.deploys, sinks.one(JointLog), self.read_many,
            cone=self.cone,
        )  # fmt: skip

    def facts(self) -> Facts:
        """Return how everything stands; never waits."""
        active = self._active()
        config = active.loaded.config
        jobs = {
            name: JobFacts(job, runner.health, runner.job.model.version, dict(self._telemetry.newest.get(name, {})))
            for name, job in config.jobs.items()
            if (runner := active.runners.get(name)) is not None
        }
        deploys = self._deploys.standing
        return Facts(
            config, active.loaded.digest, jobs, self._started, self._loaded, self._refused, deploys, self._discovered()
        )

    def deploys(self, job: str, key: Key, start: float, end: float) -> Sequence[Deploy]:
        """Return the deploys of the owner of a series between two times (Unix seconds); never waits."""
        config = self._active().loaded.config.jobs.get(job)
        if config is None:
            return ()
        known = self._deploys.known(questions(config.deploys))
        return [each for each in known if start <= each.at <= end and belongs(key, each.owner, config.deploys.owner)]

    def cone(self, job: str, key: Key, now: float) -> Cone | None:
        """Return how a series goes on that has a limit, None of the others; never waits."""
        runner = self._active().runners.get(job)
        forecast = None if runner is None else runner.job.learnt.forecast
        return None if forecast is None else forecast.cone(key, now)

    def read(self, expr: str, start: float, end: float, step: float) -> RangeResult:
        """Ask the source. Raises SourceError."""
        return self.read_many(expr, start, end, step, _MOST_SERIES)

    def read_many(self, expr: str, start: float, end: float, step: float, most: int) -> RangeResult:
        """Ask the source for so many series at most. Raises SourceError."""
        return self._active().source.range(expr, start, end, step, max_series=most)
