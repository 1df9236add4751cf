"""A thread that sends what a sink leaves word of, so that no cycle waits for whoever it is sent to."""

import threading
import time
from abc import ABC, abstractmethod

import structlog

from exporter.config.sections.job import JobConfig
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.verdict import Verdict

log = structlog.get_logger()

News = tuple[Verdict, JobConfig] | None
"""The newest verdict of a job and how the job is configured; None: it is shown no more."""
_AFTER_A_DEFECT = 60.0


class Pusher(ABC):
    """Calls `_push` in a thread of its own whenever there is something to do.

    Parameters
    ----------
    sink : str
        Name of the sink in log and metrics.
    metrics : SelfMetrics
        Count what fails.
    """

    def __init__(self, sink: str, metrics: SelfMetrics) -> None:
        self._sink, self._errors = sink, metrics.sink_errors
        self._lock = threading.Lock()
        self._news: list[tuple[str, News]] = []
        self._wake = threading.Event()
        self._until = 0.0
        self._thread: threading.Thread | None = None
        self.closing = False
        """Whether this is the last call."""

    @abstractmethod
    def _push(self) -> None:
        """Send what is due; called in the thread."""

    @abstractmethod
    def _due(self) -> float | None:
        """Return when to push again although nothing is new (monotonic), None: not at all."""

    @property
    def late(self) -> bool:
        """Whether the time that `finish` gave is over."""
        return time.monotonic() > self._until

    def start(self) -> None:
        """Start the thread, if it does not run."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._sink.replace("_", "-"), daemon=True)
            self._thread.start()

    def leave_word(self, job: str, news: News) -> None:
        """Have a verdict sent, or the end of a job."""
        with self._lock:
            self._news.append((job, news))
        self._wake.set()

    def news(self) -> list[tuple[str, News]]:
        """Return what was left since the last call, with the job, in order."""
        with self._lock:
            news, self._news = self._news, []
        return news

    def wake(self) -> None:
        """Have it looked what is due."""
        self._wake.set()

    def finish(self, until: float) -> None:
        """Send what is pending until then (monotonic), and end."""
        self._until, self.closing = until, True
        self._wake.set()

    def wait(self, until: float) -> None:
        """Wait for the end, until then at most (monotonic)."""
        if self._thread is not None:
            self._thread.join(max(until - time.monotonic(), 0.0))

    def _run(self) -> None:
        last, rest = False, 0.0
        while not last:
            due = self._due()
            self._wake.wait(rest or (None if due is None else max(due - time.monotonic(), 0.0)))
            self._wake.clear()
            last, rest = self.closing, 0.0  # before what is new is looked at: what came in until then is still sent
            try:
                self._push()
            except Exception as error:  # a defect must not end the thread: everything would stop being sent
                rest = _AFTER_A_DEFECT
                self._errors.labels(self._sink).inc()
                log.error("sink_failed", sink=self._sink, exc_info=error, hint="please report this")
