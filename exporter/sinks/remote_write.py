"""All that the page shows, written to a server by Prometheus remote write: for places where nobody scrapes."""

import socket
import time
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from detectors.types import Key
from exporter.config.sections.job import JobConfig
from exporter.config.sections.remote_write import RemoteWriteConfig
from exporter.config.sections.root import Config
from exporter.label_names import ALLOW_UTF8, Scheme
from exporter.observe.metrics import SelfMetrics
from exporter.pipeline.verdict import Verdict
from exporter.sinks.base import Change, NewestVerdict
from exporter.sinks.joint_book import Joined, no_joint_incidents
from exporter.sinks.pushed_samples import JobSamples
from exporter.sinks.pusher import News, Pusher
from exporter.sinks.remote_write_message import STALE, Labels, Metadata, Sample
from exporter.sinks.remote_write_queue import Outgoing

log = structlog.get_logger()

OWN_EVERY: Final = 15.0
"""Seconds between two samples of our own metrics, at least."""
_OWN: Final = ""
"""Stands for our own metrics among the names of jobs."""
_UP: Final = Metadata("gauge", "1 while the exporter writes: what a scrape would say")


class RemoteWrite(NewestVerdict):
    """Writes each job's newest verdict and our own metrics to every server that the configuration names.

    The calls of a sink only leave word: each server has a thread that does the rest, so that neither a cycle nor one
    server waits for another.

    Parameters
    ----------
    metrics : SelfMetrics
    joined : callable taking the name of a job
        Returns by series which joint incident it belongs to.
    """

    def __init__(
        self, metrics: SelfMetrics, joined: Callable[[str], Mapping[Key, Joined]] = no_joint_incidents
    ) -> None:
        self._metrics, self._joined = metrics, joined
        self._writers: dict[str, _Writer] = {}
        self._started = False

    def prepare(self, config: Config) -> Change:
        """Take over which servers are written to."""

        def commit() -> None:
            before = self._writers
            self._writers = {
                each.remote: before.get(each.remote) or _Writer(each.remote, self._metrics, self._joined)
                for each in config.remote_write
            }
            for name, writer in before.items():
                if name not in self._writers:
                    writer.retire()
            for each in config.remote_write:
                self._writers[each.remote].configure(each, config)
            if self._started:
                self.start()

        return Change(commit)

    def start(self) -> None:
        """Write from now on."""
        self._started = True
        for writer in self._writers.values():
            writer.start()

    def show(self, verdict: Verdict, config: JobConfig) -> None:
        """Have a verdict written."""
        for writer in self._writers.values():
            writer.leave_word(verdict.job, (verdict, config))

    def show_again(self, verdict: Verdict, config: JobConfig) -> None:
        """Write nothing: it was written before the restart."""

    def withdraw(self, job: str) -> None:
        """Have all series of a job ended."""
        for writer in self._writers.values():
            writer.leave_word(job, None)

    def flush(self) -> None:
        """Have our own metrics written, now and then."""
        for writer in self._writers.values():
            writer.wake()

    def close(self, timeout: float) -> None:
        """Write what is pending, within `timeout` seconds."""
        until = time.monotonic() + timeout
        for writer in self._writers.values():
            writer.finish(until)
        for writer in self._writers.values():
            writer.wait(until)


class _Writer(Pusher):
    """Writes to one server; a series that is gone gets a marker that says so."""

    def __init__(self, remote: str, metrics: SelfMetrics, joined: Callable[[str], Mapping[Key, Joined]]) -> None:
        super().__init__("remote_write", metrics)
        self._metrics, self._remote = metrics, remote
        self._outgoing, self._samples = Outgoing(metrics, remote), JobSamples(joined)
        self._config: RemoteWriteConfig | None = None
        self._scheme: Scheme = ALLOW_UTF8
        self._scrape_job = ""
        self._written: dict[str, tuple[frozenset[Labels], int]] = {}
        """Series and time (milliseconds) of what was last written, by job."""
        self._own_due = 0.0
        self._quiet_until = 0.0
        """When the server may be asked again (monotonic)."""

    def configure(self, config: RemoteWriteConfig, of_all: Config) -> None:
        """Write as `config` says from now on."""
        self._scheme, self._scrape_job = of_all.alerting.escaping, of_all.alerting.health.scrape_job
        self._config = config
        self.wake()

    def retire(self) -> None:
        """Write nothing any more: a reload has taken the server out."""
        self._config = None
        self.finish(0.0)

    def _due(self) -> float | None:
        return self._quiet_until if len(self._outgoing) else None

    def _push(self) -> None:
        if (config := self._config) is None:  # a reload has taken it out
            self._outgoing.clear()
            return
        self._take(config)
        while len(self._outgoing) and (self.closing or time.monotonic() >= self._quiet_until):
            pause = self._outgoing.send_one(config)
            self._quiet_until = time.monotonic() + pause
            self._take(config)
            if self.closing and (pause or self.late):
                break

    def _take(self, config: RemoteWriteConfig) -> None:
        """Queue what is new."""
        for job, news in self.news():
            self._outgoing.add(self._of_job(job, news, config), config)
        if time.monotonic() >= self._own_due:
            self._own_due = time.monotonic() + OWN_EVERY
            self._outgoing.add(self._own(config), config)

    def _of_job(self, job: str, news: News, config: RemoteWriteConfig) -> list[Sample]:
        if news is None:
            self._samples.forget(job)
            return self._ended(job, [], int(time.time() * 1000))
        verdict, of_job = news
        at = int(verdict.time * 1000)
        if at <= self._written.get(job, (frozenset(), 0))[1]:
            return []
        found = self._samples.of(verdict, of_job, self._scheme, tuple(config.labels.items()))
        return self._ended(job, list(found), at)

    def _own(self, config: RemoteWriteConfig) -> list[Sample]:
        """Return the samples of our own metrics, with the labels that a scrape would give them, and `up`."""
        at = int(time.time() * 1000)
        name = config.instance or socket.gethostname()
        target = (("job", self._scrape_job), ("instance", name), *config.labels.items())
        found = [Sample(tuple(sorted({"__name__": "up", **dict(target)}.items())), 1.0, at, _UP)]
        for family in self._metrics.registry.collect():
            metadata = Metadata(family.type, family.documentation)
            for each in family.samples:
                labels = {**dict(target), **each.labels, "__name__": each.name}
                pairs = tuple(sorted(pair for pair in labels.items() if pair[1]))
                found.append(Sample(pairs, each.value, at, metadata))
        return self._ended(_OWN, found, at)

    def _ended(self, job: str, samples: list[Sample], at: int) -> list[Sample]:
        """Return samples, with a marker for each series that was written before and is not among them."""
        present = frozenset(each.labels for each in samples)
        gone, newest = self._written.pop(job, (frozenset(), 0))
        at = max(at, newest + 1)
        if samples:
            self._written[job] = present, at
        return samples + [Sample(labels, STALE, at) for labels in gone - present]
