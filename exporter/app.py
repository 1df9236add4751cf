"""The running exporter: jobs on their clocks, the page, the audit file, the server, and reloads between them."""

import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from exporter import logs
from exporter.audit import Audit, AuditError
from exporter.config.check import job_digest
from exporter.config.load import ConfigError, Loaded, load
from exporter.config.watch import Watcher
from exporter.cycle import evaluate
from exporter.job import Job
from exporter.metrics import SelfMetrics
from exporter.page import Page
from exporter.schedule import Clockwork
from exporter.server import Hooks, Server
from exporter.source.errors import SourceError
from exporter.source.prometheus import Prometheus
from exporter.store import Store
from exporter.telemetry import Telemetry
from exporter.verdict import Verdict

log = structlog.get_logger()

STOP_WITHIN: Final = 10.0
"""Seconds that running cycles are given at a stop; what is pending is written afterwards either way."""
MOST_FLAG_LINES: Final = 50
"""Flag changes logged one by one in a cycle; a storm of thousands would drown what matters."""


@dataclass(slots=True)
class Running:
    """A job in service with its clock."""

    job: Job
    clock: Clockwork
    succeeded: float = field(default_factory=time.monotonic)
    """Monotonic time of the last success, or of the start: scores older than the job's max_age are withdrawn."""
    published: bool = False


class App:
    """Everything between the configuration and the page.

    Parameters
    ----------
    path : Path
        The configuration file.
    profile : str or None
        Its profile.

    Raises
    ------
    ConfigError, AuditError, TelemetryError
        At construction: the configuration is wrong or what it names cannot be used.
    """

    def __init__(self, path: Path, profile: str | None = None) -> None:
        self._path, self._profile = path, profile
        self._loaded: Loaded = load(path, profile)
        config = self._loaded.config
        logs.configure(config.log)
        self.metrics = SelfMetrics()
        self.page = Page(self.metrics)
        self.telemetry = Telemetry(self.metrics)
        self._source = Prometheus(config.prometheus, config.limits)
        self._audit = Audit(config.audit, self.metrics) if config.audit else None
        self._running: dict[str, Running] = {}
        self._reloading = threading.Lock()
        self._stop, self._hangup, self._dirty = threading.Event(), threading.Event(), threading.Event()
        self._ready = threading.Event()
        self.server = Server(config.web, self.page, Hooks(ready=self._ready.is_set, reload=self.reload))
        self._watcher = Watcher(self._loaded.files, config.reload_poll)
        self._start_jobs(self._loaded, {})
        self.metrics.started.set_to_current_time()
        self._note_reload(True)

    def run(self) -> None:
        """Serve and judge until a stop signal; then finish the cycles under way and write what is pending.

        Raises ServerError when the port cannot be had.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        signal.signal(signal.SIGHUP, lambda *_: self._hangup.set())
        self.page.render()
        self.server.start()
        log.info("started", address=self.server.address, jobs=len(self._running), config=str(self._path))
        for note in self._loaded.notes:
            log.warning("note", text=note)
        house = threading.Thread(target=self._keep_house, name="house", daemon=True)
        house.start()
        for running in self._running.values():
            running.clock.start()
        self._stop.wait()
        self._close()

    def stop(self) -> None:
        """Ask `run` to end."""
        self._stop.set()

    def _close(self) -> None:
        log.info("stopping", hint="cycles under way are finished")
        with self._reloading:
            clocks = [running.clock for running in self._running.values()]
        for clock in clocks:
            clock.stop()
        deadline = time.monotonic() + STOP_WITHIN
        unfinished = sum(not clock.join(max(deadline - time.monotonic(), 0.0)) for clock in clocks)
        if unfinished:
            log.warning("cycles_abandoned", cycles=unfinished, why=f"no answer from the source within {STOP_WITHIN:g}s")
        if self._audit is not None:
            self._audit.close(timeout=5.0)
        self.server.stop()
        self._source.close()
        self.telemetry.close()
        log.info("stopped")

    def _start_jobs(self, loaded: Loaded, kept: dict[str, Running]) -> None:
        config = loaded.config
        store = Store(config.models) if config.models else None
        running = {}
        for name, job_config in config.jobs.items():
            digest = job_digest(job_config, config)
            before = kept.get(name)
            if before is not None and before.job.digest == digest:
                before.job.source = self._source
                running[name] = before
                continue
            job = Job(name, job_config, digest, self._source, self.metrics, store)
            entry = Running(job, Clockwork(name, job_config.step, lambda now, n=name: self._cycle(n, now), self.metrics))
            running[name] = entry
        self._running = running

    def _cycle(self, name: str, now: float) -> None:
        """Run one cycle of one job. Whatever goes wrong stays within this job and this cycle."""
        running = self._running.get(name)
        if running is None:
            return
        job, began = running.job, time.monotonic()
        try:
            with self.telemetry.cycle(name) as span:
                verdict = evaluate(job, now, self.telemetry, self.metrics)
                if verdict is not None:
                    span.set_attribute("entities", len(verdict.keys))
                    with self.telemetry.stage(name, "publish"):
                        self._publish(running, verdict)
                    _log_verdict(verdict, time.monotonic() - began)
        except SourceError as error:
            self.metrics.query_errors.labels(name, error.reason).inc()
            self.metrics.query_retries.labels(name).inc(error.retries)
            self._failed(name, error.reason, error)
            return
        except Exception as error:  # a defect or a lack of memory in one job must not end the others
            self._failed(name, "internal", error)
            return
        running.succeeded = time.monotonic()
        self.metrics.source_up.labels(name).set(1)
        self.metrics.cycles.labels(name, "success").inc()
        self.metrics.last_success.labels(name).set_to_current_time()
        self._dirty.set()

    def _failed(self, name: str, reason: str, error: Exception) -> None:
        if reason != "internal":
            self.metrics.source_up.labels(name).set(0)
        self.metrics.cycles.labels(name, "error").inc()
        log.error("cycle_failed", job=name, reason=reason, exc_info=error, hint="the next cycle tries again")
        self._dirty.set()

    def _publish(self, running: Running, verdict: Verdict) -> None:
        if self._running.get(verdict.job) is not running:  # removed by a reload while it was judging
            return
        self.page.publish(verdict, running.job.config.publish)
        running.published = True
        if self._audit is not None:
            self._audit.write(verdict)
        for to, count in (("open", (verdict.changed & verdict.flag).sum()), ("closed", (verdict.changed & ~verdict.flag).sum())):
            self.metrics.flag_changes.labels(verdict.job, to).inc(int(count))
        self._ready.set()

    def _keep_house(self) -> None:
        """Render the page when a cycle ended, withdraw old scores, notice changed files."""
        polled = time.monotonic()
        while not self._stop.is_set():
            self._dirty.wait(1.0)
            self._dirty.clear()
            poll = self._loaded.config.reload_poll
            due = poll > 0 and time.monotonic() - polled >= poll
            if due:
                polled = time.monotonic()
            if self._hangup.is_set() or (due and self._watcher.changed()):
                self._hangup.clear()
                self.reload()
            now = time.monotonic()
            for name, running in list(self._running.items()):
                if running.published and now - running.succeeded > running.job.config.withdraw_after:
                    running.published = False
                    self.page.withdraw(name)
                    log.error("scores_withdrawn", job=name, why="no cycle succeeded for max_age; see cycle_failed")
            self.page.render()

    def reload(self) -> str | None:
        """Load the configuration again and swap it in; on any mistake keep the old one. Return the mistake, or None."""
        with self._reloading:
            try:
                loaded = load(self._path, self._profile)
                self._swap(loaded)
            except (ConfigError, AuditError) as error:
                self._note_reload(False)
                log.error("reload_failed", error=str(error), hint="the old configuration stays in service")
                return str(error)
            self._note_reload(True)
            log.info("reloaded", jobs=len(self._running))
            return None

    def _swap(self, loaded: Loaded) -> None:
        old = self._loaded.config
        new = loaded.config
        if new.audit != old.audit:
            audit = Audit(new.audit, self.metrics) if new.audit else None  # may fail: before anything is changed
            previous, self._audit = self._audit, audit
            if previous is not None:
                previous.close(timeout=5.0)
        if (new.prometheus, new.limits) != (old.prometheus, old.limits):
            source, self._source = self._source, Prometheus(new.prometheus, new.limits)
            threading.Timer(old.prometheus.deadline, source.close).start()  # cycles under way still use it
        if new.web != old.web:
            log.warning("restart_needed", what="web", why="the port, its TLS and its users are set up at start")
        logs.configure(new.log)
        before = dict(self._running)
        self._start_jobs(loaded, before)
        self._loaded = loaded
        self._watcher = Watcher(loaded.files, new.reload_poll)
        for name, running in before.items():
            if self._running.get(name) is not running:
                running.clock.stop()
                self.page.withdraw(name)
                if name not in self._running:
                    self.metrics.forget(name)
        for name, running in self._running.items():
            if before.get(name) is not running:
                running.clock.start()
        self._dirty.set()

    def _note_reload(self, ok: bool) -> None:
        self.metrics.reload_ok.set(ok)
        if ok:
            self.metrics.reload_time.set_to_current_time()


def _log_verdict(verdict: Verdict, seconds: float) -> None:
    """Write one line for the cycle and one for each flag that changed."""
    rows = np.flatnonzero(verdict.changed)
    for row in rows[:MOST_FLAG_LINES]:
        channel = int(np.argmax(verdict.blame[row])) if len(verdict.channels) > 1 else 0
        opened = bool(verdict.flag[row])
        write = log.warning if opened else log.info
        write(
            "flag",
            job=verdict.job,
            incident="opened" if opened else "closed",
            labels=dict(verdict.keys[row]),
            channel=verdict.channels[channel],
            observed=_short(verdict.values[row, channel]),
            expected=_short(verdict.expected[row, channel]),
            lower=_short(verdict.lower[row, channel]),
            upper=_short(verdict.upper[row, channel]),
            score=_short(verdict.score[row]),
        )
    if len(rows) > MOST_FLAG_LINES:
        log.warning("flags_not_listed", job=verdict.job, count=len(rows) - MOST_FLAG_LINES, hint="see the audit file")
    log.info(
        "cycle",
        job=verdict.job,
        seconds=round(seconds, 4),
        entities=len(verdict.keys),
        flagged=int(verdict.flag.sum()),
        alerts=int(verdict.alert.sum()),
        **verdict.states,
    )


def _short(number: float) -> float:
    """Return `number` with the six digits a reader can use."""
    return float(f"{number:.6g}")
