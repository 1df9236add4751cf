"""All that the page shows, written to a server by Prometheus remote write: for places where nobody scrapes."""

import socket
import threading
import time
from collections.abc import Mapping
from itertools import chain
from typing import Final

import structlog

from exporter import exposition
from exporter.config.sections.job import JobConfig
from exporter.config.sections.remote_write import RemoteWriteConfig
from exporter.config.sections.root import Config
from exporter.exposition import Lines
from exporter.label_names import RESERVED, Scheme
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.verdict import Verdict
from exporter.sinks.base import Change, NewestVerdict
from exporter.sinks.page_lines import Published
from exporter.sinks.remote_write_message import STALE, Labels, Sample, samples_of
from exporter.sinks.remote_write_queue import LONGEST_PAUSE, Outgoing

log = structlog.get_logger()

OWN_EVERY: Final = 15.0
"""Seconds between two samples of our own metrics, at least."""
_OWN: Final = ""
"""Stands for our own metrics among the names of jobs."""


class RemoteWrite(NewestVerdict):
    """Writes each job's newest verdict and our own metrics; a series that is gone gets a marker that says so.

    Nothing is written where the configuration names no server. The calls of a sink only leave word: a thread does the
    rest, so that no cycle waits for a server.
    """

    def __init__(self, metrics: SelfMetrics) -> None:
        self._metrics = metrics
        self._outgoing = Outgoing(metrics)
        self._config: RemoteWriteConfig | None = None
        self._scheme: Scheme = "allow-utf-8"
        self._scrape_job = ""
        self._lock = threading.Lock()
        self._news: list[tuple[str, tuple[Verdict, JobConfig] | None]] = []
        self._known: dict[str, dict[bytes, Labels]] = {}
        self._written: dict[str, tuple[frozenset[Labels], int]] = {}
        """Series and time (milliseconds) of what was last written, by job."""
        self._published: dict[str, Published] = {}
        self._wake = threading.Event()
        self._own_due, self._closing, self._until = 0.0, False, 0.0
        self._thread: threading.Thread | None = None
        self._started = False

    def prepare(self, config: Config) -> Change:
        """Take over which server is written to."""

        def commit() -> None:
            self._config, self._scheme = config.remote_write, config.alerting.escaping
            self._scrape_job = config.alerting.health.scrape_job
            self._begin()
            self._wake.set()

        return Change(commit)

    def start(self) -> None:
        """Write from now on."""
        self._started = True
        self._begin()

    def _begin(self) -> None:
        if self._started and self._config is not None and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="remote-write", daemon=True)
            self._thread.start()

    def show(self, verdict: Verdict, config: JobConfig) -> None:
        """Have a verdict written."""
        self._leave_word(verdict.job, (verdict, config))

    def show_again(self, verdict: Verdict, config: JobConfig) -> None:
        """Write nothing: it was written before the restart."""

    def withdraw(self, job: str) -> None:
        """Have all series of a job ended."""
        self._leave_word(job, None)

    def flush(self) -> None:
        """Have our own metrics written, now and then."""
        self._wake.set()

    def _leave_word(self, job: str, news: tuple[Verdict, JobConfig] | None) -> None:
        if self._config is not None:
            with self._lock:
                self._news.append((job, news))
            self._wake.set()

    def close(self, timeout: float) -> None:
        """Write what is pending, within `timeout` seconds."""
        self._until, self._closing = time.monotonic() + timeout, True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        quiet_until = 0.0
        last = False
        while not last:
            self._wake.wait(max(quiet_until - time.monotonic(), 0.0) if len(self._outgoing) else None)
            self._wake.clear()
            last = self._closing  # before the queue is looked at: what came in until then is still written
            try:
                quiet_until = self._write(quiet_until)
            except Exception as error:  # a defect must not end the thread: everything would stop being written
                quiet_until = time.monotonic() + LONGEST_PAUSE
                self._metrics.sink_errors.labels("remote_write").inc()
                log.error("sink_failed", sink="remote_write", exc_info=error, hint="please report this")

    def _write(self, quiet_until: float) -> float:
        """Queue what is new and send what waits; return until when to leave the server in peace (monotonic)."""
        if (config := self._config) is None:  # a reload has taken it out
            self._outgoing.clear()
            return quiet_until
        self._take(config)
        while len(self._outgoing) and (self._closing or time.monotonic() >= quiet_until):
            pause = self._outgoing.send_one(config)
            quiet_until = time.monotonic() + pause
            self._take(config)
            if self._closing and (pause or time.monotonic() > self._until):
                break
        return quiet_until

    def _take(self, config: RemoteWriteConfig) -> None:
        """Queue what is new."""
        with self._lock:
            news, self._news = self._news, []
        for job, each in news:
            self._outgoing.add(self._samples(job, each, config), config)
        if time.monotonic() >= self._own_due:
            self._own_due = time.monotonic() + OWN_EVERY
            self._outgoing.add(self._own(config), config)

    def _samples(self, job: str, news: tuple[Verdict, JobConfig] | None, config: RemoteWriteConfig) -> list[Sample]:
        if news is None:
            self._published.pop(job, None)
            self._known.pop(job, None)
            return self._ended(job, [], int(time.time() * 1000))
        verdict, of_job = news
        at = int(verdict.time * 1000)
        if at <= self._written.get(job, (frozenset(), 0))[1]:
            return []
        own = f'query="{exposition.escape(job)}",detector="{exposition.escape(verdict.detector)}"'
        reserved = RESERVED | {"channel"} if len(verdict.channels) > 1 else RESERVED
        published = Published(verdict, of_job.publish, own, reserved, self._published.get(job))
        self._published[job] = published
        return self._ended(job, self._read(job, published.blocks(self._scheme), at, config), at)

    def _own(self, config: RemoteWriteConfig) -> list[Sample]:
        """Return the samples of our own metrics, with the labels that a scrape would give them, and `up`."""
        at = int(time.time() * 1000)
        name = config.instance or socket.gethostname()
        target = (("job", self._scrape_job), ("instance", name), *config.labels.items())
        found = [Sample(tuple(sorted({"__name__": "up", **dict(target)}.items())), 1.0, at)]
        for family in self._metrics.registry.collect():
            for each in family.samples:
                labels = {**dict(target), **each.labels, "__name__": each.name}
                found.append(Sample(tuple(sorted(pair for pair in labels.items() if pair[1])), each.value, at))
        return self._ended(_OWN, found, at)

    def _read(self, job: str, blocks: Mapping[str, Lines], at: int, config: RemoteWriteConfig) -> list[Sample]:
        known = self._known.setdefault(job, {})
        found = list(
            samples_of(
                chain.from_iterable(each.pieces() for each in blocks.values()), at, known, tuple(config.labels.items())
            )
        )
        if len(known) > 2 * len(found) + 1000:  # most are of series that came and went
            known.clear()
        return found

    def _ended(self, job: str, samples: list[Sample], at: int) -> list[Sample]:
        """Return samples, with a marker for each series that was written before and is not among them."""
        present = frozenset(each.labels for each in samples)
        gone, newest = self._written.pop(job, (frozenset(), 0))
        at = max(at, newest + 1)
        if samples:
            self._written[job] = present, at
        return samples + [Sample(labels, STALE, at) for labels in gone - present]
