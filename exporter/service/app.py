"""The running exporter: jobs on their clocks, sinks, the server, and reloads between them."""

import gc
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import structlog
from pydantic import SecretStr

from detectors.types import Key
from exporter.backtest.quality_metrics import BacktestMetrics
from exporter.config.compare import encode_jobs, keys_of
from exporter.config.load import ConfigError, Loaded, load
from exporter.config.sections.job import drift_settings
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
from exporter.service.active import Active, Preparation, Prepared
from exporter.service.companion_watch import CompanionWatch
from exporter.service.context_watch import ContextWatch
from exporter.service.discovery import Discovery, with_jobs
from exporter.service.election import Leadership, election_of
from exporter.service.free_memory import give_back
from exporter.service.heeding import Heeding
from exporter.service.message_pages import our_pages
from exporter.service.model_reload import ModelReloader
from exporter.service.page_facts import PageFacts
from exporter.service.replica_watch import MOST, Mine, ReplicaWatch
from exporter.service.runner import Runner
from exporter.service.standby import Standby
from exporter.sinks.base import SinkError
from exporter.sinks.feedback_book import FeedbackBook
from exporter.sinks.latest import LatestVerdicts, UnknownJob
from exporter.sinks.metrics_page import Page
from exporter.sinks.registry import Resources, Sinks
from exporter.web.server import Callbacks, Server, ServerError
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
        self._path, self._profile, self._shard = path, profile, shard
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
        self._reloading = threading.Lock()
        self._leaving: list[Runner] = []
        """Of jobs that a reload has removed or replaced, until the cycle under way has ended, which still counts."""
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
        self._file = loaded
        """The configuration of the files that is in force; `active` has what teams declare besides."""
        self._discovery = Discovery(
            self.metrics, lambda: self._preparation.leads, lambda: shard.index == 0 and self._preparation.leads
        )
        self._discovery.follow(config)
        self._discovery.wait()
        prepared = self._prepare(loaded, None)
        prepared.commit()
        self.active: Active = prepared.active
        """What is active; a reload exchanges it as a whole."""
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
        with self._reloading:
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
        loaded = self._file  # what a reload would compare with: declared jobs are in no file
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
                self._take_declared()
            active = self.active
            if self._standby is not None and self._answers.follow():
                self._heeding.all()
            if self._shard.index == 0 and self._preparation.leads:  # one report for all replicas
                self._reports.tick(active.loaded.config.report)
            self._backtests.show(active.loaded.config)
            self.forget_removed()
            withdrawn = [runner.withdraw_old() for runner in active.runners.values()]
            if any(withdrawn):
                self.sinks.flush()

    def _take_over(self) -> None:
        """Publish and notify from now on: what the leader before has written is read first."""
        with self._reloading:
            self._preparation.leads = True
            try:
                prepared = self._preparation.prepare(self.active.loaded, self.active)
            except BaseException:
                self._preparation.leads = False
                raise
            self._answers.follow()
            prepared.commit()
            self.active = prepared.active
            self._heeding.all()
            for runner in self.active.runners.values():
                runner.saving = self.active.saving
                runner.show_newest()
            self.sinks.flush()

    def _step_down(self) -> None:
        """Show, write and send nothing from now on."""
        with self._reloading:
            self._preparation.leads = False
            prepared = self._preparation.prepare(self.active.loaded, self.active)
            prepared.commit()
            self.active = prepared.active
            for runner in self.active.runners.values():
                runner.stand_by()
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

    def reload(self) -> str | None:
        """Load the configuration again: all of it is exchanged, or nothing. Return what is wrong, None if it worked."""
        with self._reloading:
            try:
                loaded = load(self._path, self._profile)
                let_in = self.server.prepared(loaded.config.web.users)
                prepared = self._prepare(loaded, self.active)
            except Exception as error:  # whatever it is: the jobs go on, and so does the thread that looks for changes
                expected = isinstance(error, ConfigError | ServerError | SinkError)
                why = str(error) if expected else f"{type(error).__name__}, which the log explains"
                self._note_load(why)
                self._discovery.look_again()
                hint = "the old configuration stays active"
                log.error("reload_failed", error=str(error), hint=hint, exc_info=None if expected else error)
                return why
            else:
                let_in()
                self._file = loaded
                self._exchange(prepared)
                self._discovery.follow(loaded.config)
                self._note_load()
                log.info("reloaded", jobs=len(self.active.runners))
                return None
            finally:
                self.sinks.flush()

    def _prepare(self, loaded: Loaded, before: Active | None) -> Prepared:
        """Prepare the configuration of the files with what teams declare; what they declare never stops it."""
        whole = self._discovery.add_to(loaded)
        try:
            return self._preparation.prepare(whole, before)
        except Exception as error:
            if whole is loaded:
                raise
            prepared = self._preparation.prepare(self._with_running(loaded, before), before)  # or the files are wrong
            self._discovery.not_taken(error)
            return prepared

    def _with_running(self, loaded: Loaded, before: Active | None) -> Loaded:
        """Return the configuration of the files with those declared jobs that run already."""
        running = {} if before is None else before.loaded.config.jobs
        kept = {name: job for name, job in running.items() if name not in self._file.config.jobs}
        return with_jobs(loaded, kept)

    def _take_declared(self) -> None:
        """Put into service what teams declare now, with the files as they were loaded last."""
        with self._reloading:
            began = time.monotonic()
            try:
                whole, before = self._discovery.add_to(self._file), self.active.runners
                if whole.digest == self.active.loaded.digest:
                    return
                self._exchange(self._preparation.prepare(whole, self.active))
                added, removed = self.active.runners.keys() - before.keys(), before.keys() - self.active.runners.keys()
                log.info("declared_jobs_taken", added=sorted(added), removed=sorted(removed))
            except Exception as error:  # whatever it is: what runs goes on, and so does this thread
                self._discovery.not_taken(error)
            finally:
                self._discovery.took(time.monotonic() - began)
                self.sinks.flush()

    def _exchange(self, prepared: Prepared) -> None:
        """Put into service what was prepared, and end what it replaces."""
        before, active = self.active, prepared.active
        old, new = before.loaded.config, active.loaded.config
        logs.configure(new.log)
        prepared.commit()
        self.active = active
        self._context.book.source = active.source
        self._heeding.all()
        for name, runner in before.runners.items():
            if active.runners.get(name) is not runner:
                runner.retire()
                self._leaving.append(runner)
            if name not in active.runners:
                self.metrics.forget(name)
        for name, runner in active.runners.items():
            if before.runners.get(name) is not runner:
                runner.start()
                continue
            runner.job.source, runner.job.model.store = active.source, active.store
            runner.job.watch_drift(drift_settings(new.jobs[name].drift_detection, new.drift_detection))
            runner.reconfigure(new.jobs[name], active.digests[name], active.saving)
        if active.source is not before.source:
            # Cycles under way still use the old one; they end within its deadline.
            closing = threading.Timer(2 * old.prometheus.deadline, before.source.close)
            closing.daemon = True
            closing.start()
        exchanged = ["external_url", *(["users"] if old.web.users and new.web.users else [])]
        if new.web.model_copy(update={name: getattr(old.web, name) for name in exchanged}) != old.web:
            why = "the port, its TLS and whether people log in are set up at start"
            log.warning("restart_needed", what="web", why=why)

    def forget_removed(self) -> None:
        """Drop what jobs have learnt that a reload removed or replaced, and what they counted, once they have ended."""
        if self._leaving and self._forget_ended():  # the lock is held for as long as a reload takes
            # A job and what runs it refer to each other, so only the collector frees them. It comes by itself when
            # there are many new objects, which a few large arrays are not: each reload left them behind.
            gc.collect()
            give_back()

    def _forget_ended(self) -> int:
        with self._reloading:
            ended = [each for each in self._leaving if each.join(0)]
            for runner in ended:
                self._leaving.remove(runner)
                if runner.job.name not in self.active.runners:
                    self.metrics.forget(runner.job.name)
            return len(ended)

    def _note_load(self, refused: str = "") -> None:
        self._facts.note_load(refused)
        self.metrics.reload_ok.set(not refused)
        if not refused:
            self.metrics.reload_time.set_to_current_time()
