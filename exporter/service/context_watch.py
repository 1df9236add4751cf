"""Asks the source about deploys once a minute, in a thread of its own, so that no cycle waits for it."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from detectors.units import DAY
from exporter.config.sections.context import DeploysConfig
from exporter.context.deploy_book import SETTLED, DeployBook, Question, questions
from exporter.context.deploys import GRID, names
from exporter.observe.metrics import SelfMetrics

log = structlog.get_logger()

SHOWN: Final = 200
"""Deploys of the last day that are published, the newest."""


class ContextWatch:
    """Keeps the book of deploys up to date.

    Parameters
    ----------
    book : DeployBook
    configs : callable
        Returns the settings of every job.
    metrics : SelfMetrics
    """

    def __init__(self, book: DeployBook, configs: Callable[[], Iterable[DeploysConfig]], metrics: SelfMetrics) -> None:
        self.book, self._configs, self._metrics = book, configs, metrics
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
        while not self._stopping.is_set():
            now = time.time()
            try:
                self.tick(now)
            except Exception as error:  # whatever it is: incidents are judged without it, and the next minute may work
                log.error("context_failed", exc_info=error, hint="please report this with its traceback")
            due = (time.time() - SETTLED) // GRID * GRID + GRID + SETTLED
            self._stopping.wait(max(due - time.time(), 1.0))

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
