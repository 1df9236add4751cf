"""Asks the source about deploys once a minute, in a thread of its own, so that no cycle waits for it."""

import re
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from detectors.types import Key
from detectors.units import DAY
from exporter.config.sections.context import DeploysConfig
from exporter.context.deploy_book import SETTLED, DeployBook, Question, questions
from exporter.context.deploys import GRID, names
from exporter.context.endings import Targets
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.job import Job
from exporter.promql import quote

log = structlog.get_logger()

MOST_JOBS: Final = 20
"""Scrape jobs by which targets are asked for, rather than all of them."""
LOOK_EVERY: Final = 1.0
"""Seconds between two looks whether a series has ended."""
ASKED_BACK: Final = 600.0
"""Seconds for which a target that is gone is remembered."""
MOST_TARGETS: Final = 20_000
"""Targets in one answer."""
SHOWN: Final = 200
"""Deploys of the last day that are published, the newest."""


def targets_of(ended: Iterable[Key]) -> str:
    """Return PromQL for the targets of series, as far as their labels narrow them down."""
    jobs: set[str] = set()
    for key in ended:
        name = dict(key).get("job")
        if name is None or len(jobs) > MOST_JOBS:
            return "up"
        jobs.add(name)
    return f"up{{job=~{quote('|'.join(re.escape(name) for name in sorted(jobs)))}}}"


class ContextWatch:
    """Keeps the book of deploys up to date.

    Parameters
    ----------
    book : DeployBook
    configs : callable
        Returns the settings of every job.
    jobs : callable
        Returns every job.
    metrics : SelfMetrics
    """

    def __init__(
        self,
        book: DeployBook,
        configs: Callable[[], Iterable[DeploysConfig]],
        jobs: Callable[[], Iterable[Job]],
        metrics: SelfMetrics,
    ) -> None:
        self.book, self._configs, self._jobs, self._metrics = book, configs, jobs, metrics
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="context", daemon=True)
        self._counted = 0, 0, 0.0
        self._shown: frozenset[tuple[str, float]] = frozenset()

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more; an answer under way is not waited for."""
        self._stopping.set()

    def _loop(self) -> None:
        due = 0.0
        while not self._stopping.is_set():
            now = time.time()
            every = now >= due
            try:
                if every:
                    due = (now - SETTLED) // GRID * GRID + GRID + SETTLED
                    self.tick(now)
                for job in self._jobs():
                    if every or job.learnt.presence.pending:
                        self.look(job, now)
            except Exception as error:  # whatever it is: incidents are judged without it, and the next minute may work
                log.error("context_failed", exc_info=error, hint="please report this with its traceback")
            self._stopping.wait(LOOK_EVERY)

    def look(self, job: Job, now: float) -> None:
        """Find out why series of a job have ended, if any have; asks about their targets at `now` (Unix seconds)."""
        presence = job.learnt.presence
        if job.warming or not (ended := presence.open(now)):
            return
        answer = self.book.ask("targets", targets_of(ended), now - ASKED_BACK, now, GRID, MOST_TARGETS)
        if answer is not None:  # else it is asked again in a minute; Status says so
            presence.look(ended, Targets(answer, now - GRID / 2))

    def tick(self, now: float) -> None:
        """Ask for what is new at `now` (Unix seconds)."""
        asked: dict[Question, None] = {}
        for config in self._configs():
            asked |= dict.fromkeys(questions(config))
        if asked:
            self.book.read(asked, now - DAY, now)
        self._report(asked, now)

    def _report(self, asked: Iterable[Question], now: float) -> None:
        metrics, standing = self._metrics, self.book.standing
        queries, failures, seconds = self._counted
        self._counted = standing.queries, standing.failures, standing.seconds
        failed = standing.failures - failures
        metrics.deploy_queries.labels("error").inc(failed)
        metrics.deploy_queries.labels("success").inc(standing.queries - queries - failed)
        metrics.deploy_query_seconds.inc(standing.seconds - seconds)
        metrics.deploy_series_cut.set(standing.cut)
        recent = [deploy for deploy in self.book.known(asked) if deploy.at > now - DAY][-SHOWN:]
        shown = frozenset((names([deploy]), deploy.at) for deploy in recent)
        if shown != self._shown:
            self._shown = shown
            metrics.deploy_time.clear()
            for name, at in sorted(shown, key=lambda each: each[1]):
                metrics.deploy_time.labels(name).set(at)
