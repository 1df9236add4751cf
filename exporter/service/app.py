"""The running exporter: jobs on their clocks, sinks, the server, and reloads between them."""

import gc
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import structlog
from pydantic import SecretStr

from detectors.types import Key
from exporter.backtest.quality_metrics import BacktestMetrics
from exporter.config.compare import encode_jobs, keys_of
from exporter.config.load import load
from exporter.config.secrets import Secret
from exporter.config.sections.service import WebConfig
from exporter.context.deploy_book import DeployBook
from exporter.observe import logs
from exporter.observe.metrics import SelfMetrics
from exporter.observe.stages import Telemetry
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import ALL
from exporter.pipeline.shard import Shard
from exporter.redact import mask
from exporter.report.schedule import Reporter
from exporter.service.active import Active, Preparation
from exporter.service.companion_watch import CompanionWatch
from exporter.service.context_watch import ContextWatch
from exporter.service.discovery import Discovery
from exporter.service.election import Leadership, election_of
from exporter.service.exchange import Exchange, Hooks
from exporter.service.heeding import Heeding
from exporter.service.message_pages import our_pages
from exporter.service.model_reload import ModelReloader
from exporter.service.page_facts import PageFacts
from exporter.service.replica_watch import MOST, Mine, ReplicaWatch
from exporter.service.standby import Standby
from exporter.sinks.feedback_book import FeedbackBook
from exporter.sinks.latest import LatestVerdicts, UnknownJob
from exporter.sinks.metrics_page import Page
from exporter.sinks.registry import Resources, Sinks
from exporter.web.server import Callbacks, Server
from exporter.web.ui.related_told import companions_of

log = structlog.get_logger()

STOP_WITHIN: Final = 10.0
"""Seconds that cycles under way are given at a stop; what is pending is written afterwards either way."""
CLOSE_WITHIN: Final = 5.0
"""Seconds that each sink is given to finish at a stop."""


class App:
    """Everything between the configuration and the page.

    Parameters
    ----------
    path : Path
        The configuration file.
    profile : str or None
        The profile that is overlaid on it.
    listen : str or None
        Address and port to use instead of `web.listen`.
    shard : Shard
        Which of several replicas this is.

    Raises
    ------
    ConfigError, AuditError, TelemetryError
        The configuration is wrong, or what it names cannot be used.
    """

    def __init__(self, path: Path, profile: str | None = None, listen: str | None = None, shard: Shard = ALL) -> None:
        self._path, self._shard = path, shard
        loaded = load(path, profile)
        config = loaded.config
        logs.configure(config.log)
        for address in config.notify.addresses.values():
            if isinstance(address, SecretStr):  # of the original flat file; all other secrets are references
                mask(address.get_secret_value())
        self.metrics = SelfMetrics()
        self._telemetry = Telemetry(self.metrics)
        self._backtests = BacktestMetrics(self.metrics)
        self._reports = Reporter(path, profile, self.metrics)
        self._stop, self._hangup = threading.Event(), threading.Event()
        pages = our_pages(lambda: self.active.loaded.config.web, lambda: self.server, lambda: self._running)
        self.sinks = Sinks.of(Resources.of(self.metrics, pages))
        answers = FeedbackBook()
        deploys = DeployBook()
        self._preparation = Preparation(self.sinks, answers, self.metrics, self._telemetry, shard, deploys)
        self._answers = answers
        self._standby: Standby | None = None
        if config.leader is not None:
            leadership = Leadership(election_of(config.leader, shard))
            self._standby = Standby(leadership, self.metrics, self._take_over, self._step_down)
            self._preparation.leads = self._standby.leads
            self.sinks.leads = lambda: self._preparation.leads and leadership.leads
        self._discovery = Discovery(
            self.metrics, lambda: self._preparation.leads, lambda: shard.index == 0 and self._preparation.leads
        )
        self._discovery.follow(config)
        self._discovery.wait()
        hooks = Hooks(self._let_in, self._note_load, self._exchanged)
        self.exchange: Exchange = Exchange(
            path, profile, loaded, self._preparation, self._discovery, self.sinks, answers, self.metrics, hooks
        )
        deploys.source = self.active.source
        self._context = ContextWatch(
            deploys,
            lambda: [job.deploys for job in self.active.loaded.config.jobs.values()],
            self._jobs,
            self.metrics,
        )
        self._heeding = Heeding(answers, lambda: self.active)
        self._heeding.all()
        self._models = ModelReloader(self._jobs, lambda: self.active.store)
        self._facts = PageFacts(
            lambda: self.active, self._telemetry, self.metrics, deploys, lambda: self._discovery.standing
        )
        self._running = self._facts.running(self.sinks, answers)
        self._companions = CompanionWatch(
            self._running.joint,
            lambda each: companions_of(self._running, each.job, each.key, each.since),
            self.metrics,
        )
        self._replicas = ReplicaWatch(
            self._running.joint,
            shard.count,
            lambda expr, now: self.active.source.range(expr, now, now, 60.0, max_series=MOST),
            self._mine,
            self.metrics,
        )
        self.server = self._server(config.web if listen is None else config.web.model_copy(update={"listen": listen}))
        self.metrics.started.set_to_current_time()
        self.metrics.shard.labels(str(shard.index), str(shard.count)).set(1)
        self._note_load()

    def _server(self, config: WebConfig) -> Server:
        page = self.sinks.one(Page)
        callbacks = Callbacks(
            lambda: page.judged or self._is_warm() or not self.active.runners,
            self.reload,
            self.sinks.one(LatestVerdicts),
            self._accept,
            self._configuration,
            self._running,
            self._who_leads,
        )
        return Server(config, page, callbacks)

    def run(self) -> None:
        """Serve and run the jobs until a stop signal; then finish the cycles under way and write what is pending.

        Raises ServerError when the port cannot be opened.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        signal.signal(signal.SIGHUP, lambda *_: self._hangup.set())
        # Label sets live as long as their series. Walking them over and over was a quarter of a first fill.
        gc.set_threshold(100_000, 20, 50)
        self._backtests.show(self.active.loaded.config)
        self.sinks.flush()  # so that the first page is there before anybody can ask for it
        self.server.start()
        self.sinks.start()
        log.info("started", url=self.server.url, jobs=len(self.active.runners), config=str(self._path))
        for note in self.active.loaded.notes:
            log.warning("config_warning", text=note)
        threading.Thread(target=self._housekeeping_loop, name="house", daemon=True).start()
        for runner in self.active.runners.values():
            runner.start()
        self._models.start()
        self._context.start()
        self._companions.start()
        self._replicas.start()
        if self._standby is not None:
            self._standby.start()
        self._stop.wait()
        self._close()

    def _close(self) -> None:
        log.info("stopping", hint="cycles under way are finished")
        self._models.stop()
        self._context.stop()
        self._discovery.stop(CLOSE_WITHIN)
        self._companions.stop()
        self._replicas.stop()
        with self.exchange.lock:
            runners = list(self.active.runners.values())
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
        self.sinks.close(CLOSE_WITHIN)
        if self._standby is not None:
            self._standby.stop(CLOSE_WITHIN)
        self.server.stop()
        self._facts.bench.close()
        self.active.source.close()
        self._telemetry.close()
        log.info("stopped")

    def _configuration(self) -> dict[str, Any]:
        loaded = self.exchange.file  # what a reload would compare with: declared jobs are in no file
        return {"digest": loaded.digest, "jobs": encode_jobs(keys_of(loaded.config))}

    def _jobs(self) -> list[Job]:
        return [runner.job for runner in self.active.runners.values()]

    def _mine(self, job: str) -> Mine | None:
        runner = self.active.runners.get(job)
        if runner is None:
            return None
        labels = frozenset(name for key in runner.job.window.keys[:100] for name, _ in key)
        return Mine(runner.job.settings.owns, labels)

    def _accept(self, job: str, keys: Sequence[Key]) -> float:
        if (runner := self.active.runners.get(job)) is None:  # a reload has just removed it
            raise UnknownJob
        return runner.accept(keys)

    def _housekeeping_loop(self) -> None:
        """Reload when a file has changed or a signal asks for it, make reports, withdraw old scores."""
        polled = time.monotonic()
        while not self._stop.wait(1.0):
            poll = self.active.loaded.config.reload_poll
            due = 0 < poll <= time.monotonic() - polled
            if due:
                polled = time.monotonic()
            if self._hangup.is_set() or (due and self.active.watcher.changed()):
                self._hangup.clear()
                self.reload()
            if self._discovery.changed():
                self.exchange.take_declared()
            active = self.active
            if self._standby is not None and self._answers.follow():
                self._heeding.all()
            if self._shard.index == 0 and self._preparation.leads:  # one report for all replicas
                self._reports.tick(active.loaded.config.report)
            self._backtests.show(active.loaded.config)
            self.exchange.forget_removed()
            withdrawn = [runner.withdraw_old() for runner in active.runners.values()]
            if any(withdrawn):
                self.sinks.flush()

    def _is_warm(self) -> bool:
        """Whether this is a standby that could take over: a job of it has judged."""
        jobs = [] if self._preparation.leads else self._jobs()
        return any(job.last is not None and not job.warming for job in jobs)

    def _who_leads(self) -> str:
        """Say who leads, "" where there is but one exporter."""
        if self._standby is None:
            return ""
        if self._standby.leads:
            return "this exporter leads: it publishes and notifies"
        return f"this exporter stands by: {self._standby.holder or 'nobody'} leads"

    @property
    def active(self) -> Active:
        """What is in force."""
        return self.exchange.active

    def reload(self) -> str | None:
        """Load the configuration again: all of it is exchanged, or nothing. Return what is wrong, None if it worked."""
        return self.exchange.reload()

    def _take_over(self) -> None:
        self.exchange.take_over()

    def _step_down(self) -> None:
        self.exchange.step_down()

    def _let_in(self, users: Mapping[str, Secret]) -> Callable[[], None]:
        return self.server.prepared(users)

    def _exchanged(self) -> None:
        self._context.book.source = self.active.source
        self._heeding.all()

    def _note_load(self, refused: str = "") -> None:
        self._facts.note_load(refused)
        self.metrics.reload_ok.set(not refused)
        if not refused:
            self.metrics.reload_time.set_to_current_time()
