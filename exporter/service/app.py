"""The running exporter: jobs on their clocks, the page, the audit file, the server, and reloads between them."""

import gc
import math
import signal
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog
from pydantic import SecretStr

from detectors.types import Key
from exporter.backtest.quality_metrics import BacktestMetrics
from exporter.config.compare import encode_jobs, keys_of
from exporter.config.digest import JobDigests, job_digests
from exporter.config.load import ConfigError, Loaded, load
from exporter.config.sections.job import DriftConfig, JobConfig, drift_settings
from exporter.config.sections.root import Config
from exporter.config.sections.service import AuditConfig
from exporter.config.watch import Watcher
from exporter.models import Store
from exporter.models.retrain_requests import RetrainFolder
from exporter.models.signed_records import signing_keys
from exporter.observe import logs
from exporter.observe.job_metrics import RecordedJobMetrics
from exporter.observe.metrics import SelfMetrics
from exporter.observe.stages import Telemetry
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import ALL, JobSettings
from exporter.pipeline.shard import Shard
from exporter.redact import mask
from exporter.report.schedule import Reporter
from exporter.service.model_reload import ModelReloader
from exporter.service.runner import Runner, Sinks
from exporter.service.state_files import StateFolder
from exporter.sinks.audit import Audit, AuditError
from exporter.sinks.latest import UnknownJob
from exporter.sinks.metrics_page import Page
from exporter.sinks.notify.notifier import Notifier
from exporter.source.prometheus import Prometheus
from exporter.web.server import Callbacks, Server

log = structlog.get_logger()

STOP_WITHIN: Final = 10.0
"""Seconds that cycles under way are given at a stop; what is pending is written afterwards either way."""


class App:
    """Everything between the configuration and the page.

    Parameters
    ----------
    path : Path
        The configuration file.
    profile : str or None
        The profile laid over it.
    listen : str or None
        Address and port that take the place of `web.listen`.
    shard : Shard
        Which of several replicas this is.

    Raises
    ------
    ConfigError, AuditError, TelemetryError
        The configuration is wrong, or what it names cannot be used.
    """

    def __init__(self, path: Path, profile: str | None = None, listen: str | None = None, shard: Shard = ALL) -> None:
        self._path, self._profile, self._shard = path, profile, shard
        self._loaded: Loaded = load(path, profile)
        config = self._loaded.config
        logs.configure(config.log)
        if isinstance(config.notify.slack, SecretStr):  # of the original flat file; all other secrets are references
            mask(config.notify.slack.get_secret_value())
        self.metrics = SelfMetrics()
        self.page = Page(self.metrics)
        self._backtests = BacktestMetrics(self.metrics)
        self._reports = Reporter(path, profile, self.metrics)
        self._stop, self._hangup, self._dirty = threading.Event(), threading.Event(), threading.Event()
        self._reloading = threading.Lock()
        audit = Audit(config.audit, self.metrics) if config.audit else None
        self._sinks = Sinks(self.page, self.metrics, Telemetry(self.metrics), audit, None, self._dirty.set)
        self._keep_state(config)
        self._notifier = self._sinks.notifier = Notifier(config, self.metrics, self._external_url)
        self._source = Prometheus(config.prometheus, config.limits)
        self._watcher = self._watch(self._loaded)
        self._store: Store | None = None
        self._models = ModelReloader(self._jobs, lambda: self._store)
        self._runners = self._built(self._loaded, self._source, {})
        self._sinks.feed.expect({name: job.queries for name, job in config.jobs.items()})
        web = config.web if listen is None else config.web.model_copy(update={"listen": listen})
        self.server = Server(
            web, self.page, Callbacks(self._ready, self.reload, self._sinks.feed, self._accept, self._configuration)
        )
        self.metrics.started.set_to_current_time()
        self.metrics.shard.labels(str(shard.index), str(shard.count)).set(1)
        self._note_load(True)

    def run(self) -> None:
        """Serve and judge until a stop signal; then finish the cycles under way and write what is pending.

        Raises ServerError when the port cannot be had.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        signal.signal(signal.SIGHUP, lambda *_: self._hangup.set())
        # Label sets live as long as their series. Walking them over and over was a quarter of a first fill.
        gc.set_threshold(100_000, 20, 50)
        self._backtests.show(self._loaded.config)
        self.page.render()
        self.server.start()
        log.info("started", url=self.server.url, jobs=len(self._runners), config=str(self._path))
        for note in self._loaded.notes:
            log.warning("config_warning", text=note)
        threading.Thread(target=self._housekeeping_loop, name="house", daemon=True).start()
        for runner in self._runners.values():
            runner.start()
        self._models.start()
        self._stop.wait()
        self._close()

    def _close(self) -> None:
        log.info("stopping", hint="cycles under way are finished")
        self._models.stop()
        with self._reloading:
            runners = list(self._runners.values())
        for runner in runners:
            runner.stop()
        deadline = time.monotonic() + STOP_WITHIN
        unfinished = sum(not runner.join(max(deadline - time.monotonic(), 0.0)) for runner in runners)
        if unfinished:
            log.warning("cycles_abandoned", cycles=unfinished, why=f"no answer from the source within {STOP_WITHIN:g}s")
        for runner in runners:
            if runner.join(0):
                runner.save()
        self._reports.close()
        self._notifier.close(timeout=2.0)
        if self._sinks.audit is not None:
            self._sinks.audit.close(timeout=5.0)
        self.server.stop()
        self._source.close()
        self._sinks.telemetry.close()
        log.info("stopped")

    @staticmethod
    def _watch(loaded: Loaded) -> Watcher:
        # A file must look the same at two polls before it is read: it may be half written at the first.
        return Watcher(loaded.files, loaded.config.reload_poll / 2, loaded.content)

    def _external_url(self) -> str:
        """Return the address of the open incidents as seen from elsewhere, as far as we can know."""
        host, port = self.server.address
        name = socket.gethostname() if host in {"0.0.0.0", "::", ""} else host  # noqa: S104 - told apart, not bound
        scheme, name = self.server.url.partition("://")[0], f"[{name}]" if ":" in name else name
        return f"{scheme}://{name}:{port}/api/v1/anomalies?flag=true"

    def _ready(self) -> bool:
        return any(runner.published for runner in self._runners.values())

    def _configuration(self) -> dict[str, Any]:
        loaded = self._loaded
        return {"digest": loaded.digest, "jobs": encode_jobs(keys_of(loaded.config))}

    def _jobs(self) -> list[Job]:
        return [runner.job for runner in self._runners.values()]

    def _accept(self, job: str, keys: Sequence[Key]) -> float:
        if (runner := self._runners.get(job)) is None:  # a reload has just removed it
            raise UnknownJob
        return runner.accept(keys)

    def _built(self, loaded: Loaded, source: Prometheus, before: Mapping[str, Runner]) -> dict[str, Runner]:
        """Return a runner for every job: the one that was there where what shapes its learning did not change."""
        config = loaded.config
        store = self._store
        if store is None or config.models != self._loaded.config.models:
            store = Store(config.models) if config.models else None
        self._store = store
        runners = {}
        for name, job_config in config.jobs.items():
            digests = job_digests(job_config, config)
            if name in before and before[name].job.settings.digests.learning == digests.learning:
                runners[name] = before[name]
            else:
                drift = drift_settings(job_config.drift_detection, config.drift_detection)
                runners[name] = self._runner(name, job_config, digests, source, store, drift)
        return runners

    def _runner(
        self,
        name: str,
        config: JobConfig,
        digests: JobDigests,
        source: Prometheus,
        store: Store | None,
        drift: DriftConfig | None,
    ) -> Runner:
        def fresh() -> Job:
            metrics = RecordedJobMetrics(self.metrics, name, config.detector_name)
            job = Job(JobSettings(name, config, digests, self._shard), source, metrics, store)
            job.watch_drift(drift)
            return job

        job = fresh()
        if self._sinks.state is not None and not self._sinks.state.restore(job):
            job = fresh()
        return Runner(job, self._sinks)

    def _keep_state(self, config: Config) -> None:
        """Take the folder of saved states from `config`."""
        key = config.models.key if config.models else None
        folder = StateFolder(config.state.path, lambda: signing_keys(key)) if config.state else None
        self._sinks.retrain = RetrainFolder.of(config)
        self._sinks.state, self._sinks.save_every = folder, config.state.every if config.state else math.inf

    def _housekeeping_loop(self) -> None:
        """Render the page when a cycle ended, withdraw old scores, notice changed files."""
        polled = time.monotonic()
        while not self._stop.is_set():
            dirty = self._dirty.wait(1.0)
            self._dirty.clear()
            poll = self._loaded.config.reload_poll
            due = 0 < poll <= time.monotonic() - polled
            if due:
                polled = time.monotonic()
            if self._hangup.is_set() or (due and self._watcher.changed()):
                self._hangup.clear()
                self.reload()
            if self._shard.index == 0:  # one report for all replicas
                self._reports.tick(self._loaded.config.report)
            for runner in list(self._runners.values()):
                dirty |= runner.withdraw_old()
            if dirty:
                self._backtests.show(self._loaded.config)
                self.page.render()

    def reload(self) -> str | None:
        """Load the configuration again and swap it in; on any mistake keep the old one. Return the mistake, or None."""
        with self._reloading:
            try:
                self._swap(load(self._path, self._profile))
            except (ConfigError, AuditError) as error:
                self._note_load(False)
                log.error("reload_failed", error=str(error), hint="the old configuration stays in service")
                return str(error)
            finally:
                self._dirty.set()
            self._note_load(True)
            log.info("reloaded", jobs=len(self._runners))
            return None

    def _swap(self, loaded: Loaded) -> None:
        """Build all that is new, which may fail, and only then exchange it for the old."""
        old, new, before = self._loaded.config, loaded.config, self._runners
        source = self._source
        if (new.prometheus, new.limits) != (old.prometheus, old.limits):
            source = Prometheus(new.prometheus, new.limits)
        self._keep_state(new)
        runners = self._built(loaded, source, before)
        if new.audit != old.audit:
            self._exchange_audit(old.audit, new.audit)
        logs.configure(new.log)
        self._loaded, self._runners, self._watcher = loaded, runners, self._watch(loaded)
        self._notifier.configure(new)
        self._sinks.feed.expect({name: job.queries for name, job in new.jobs.items()})
        for name, runner in before.items():
            if runners.get(name) is not runner:
                runner.retire()
            if name not in runners:
                self.metrics.forget(name)
        for name, runner in runners.items():
            runner.job.source, runner.job.model.store = source, self._store
            runner.job.reconfigure(new.jobs[name], job_digests(new.jobs[name], new))
            runner.job.watch_drift(drift_settings(new.jobs[name].drift_detection, new.drift_detection))
            if before.get(name) is not runner:
                runner.start()
        if source is not self._source:
            # Cycles under way still use the old one; they end within its deadline.
            closing = threading.Timer(2 * old.prometheus.deadline, self._source.close)
            closing.daemon = True
            closing.start()
            self._source = source
        if new.web != old.web:
            log.warning("restart_needed", what="web", why="the port, its TLS and its users are set up at start")

    def _exchange_audit(self, old: AuditConfig | None, new: AuditConfig | None) -> None:
        before = self._sinks.audit
        same_file = before is not None and old is not None and new is not None and old.path == new.path
        if same_file and before is not None:
            before.close(timeout=5.0)  # it holds the lock that the new one needs
        self._sinks.audit = Audit(new, self.metrics) if new else None
        if before is not None and not same_file:
            before.close(timeout=5.0)

    def _note_load(self, ok: bool) -> None:
        self.metrics.reload_ok.set(ok)
        if ok:
            self.metrics.reload_time.set_to_current_time()
