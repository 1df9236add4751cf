"""What is in force, and how another configuration takes its place: as a whole, or not at all."""

import gc
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from exporter.config.load import ConfigError, Loaded, load
from exporter.config.secrets import Secret
from exporter.config.sections.job import drift_settings
from exporter.config.sections.service import WebConfig
from exporter.observe import logs
from exporter.observe.metrics import SelfMetrics
from exporter.service.active import Active, Preparation, Prepared
from exporter.service.discovery import Discovery, with_jobs
from exporter.service.free_memory import give_back
from exporter.service.runner import Runner
from exporter.sinks.base import SinkError
from exporter.sinks.feedback_book import FeedbackBook
from exporter.sinks.registry import Sinks
from exporter.web.server import ServerError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the rest of the exporter has to do with an exchange.

    Parameters
    ----------
    users : callable taking users and their secrets
        Returns what lets them in. Raises ServerError.
    loaded : callable taking a text
        Notes how a load of the files went: "" where it worked, else why it was refused.
    exchanged : callable
        Called when something else is in force, before its new jobs begin.
    """

    users: Callable[[Mapping[str, Secret]], Callable[[], None]]
    loaded: Callable[[str], None]
    exchanged: Callable[[], None]


class Exchange:
    """Keeps what is in force. Every exchange holds the lock from its first question to its last word.

    Parameters
    ----------
    path, profile
        As of `load`.
    loaded : Loaded
        The configuration to begin with. What is wrong with it is raised.
    preparation : Preparation
    discovery : Discovery
        Knows what teams declare.
    sinks : Sinks
    answers : FeedbackBook
    metrics : SelfMetrics
    hooks : Hooks
    """

    def __init__(
        self, path: Path, profile: str | None, loaded: Loaded, preparation: Preparation, discovery: Discovery,
        sinks: Sinks, answers: FeedbackBook, metrics: SelfMetrics, hooks: Hooks,
    ) -> None:  # fmt: skip
        self._path, self._profile = path, profile
        self._preparation, self._discovery, self._hooks = preparation, discovery, hooks
        self._sinks, self._answers, self._metrics = sinks, answers, metrics
        self.lock = threading.Lock()
        self._leaving: list[Runner] = []
        """Of jobs that a reload has removed or replaced, until their last cycle has ended and counts no more."""
        self.file = loaded
        """The configuration of the files that is in force; `active` has what teams declare besides."""
        prepared = self._prepare(loaded, None)
        prepared.commit()
        self.active: Active = prepared.active
        """What is in force; replaced as a whole."""

    def reload(self) -> str | None:
        """Load the configuration again: all of it is exchanged, or nothing. Return what is wrong, None if it worked."""
        with self.lock:
            try:
                loaded = load(self._path, self._profile)
                let_in = self._hooks.users(loaded.config.web.users)
                prepared = self._prepare(loaded, self.active)
            except Exception as error:  # whatever it is: the jobs go on, and so does the thread that looks for changes
                expected = isinstance(error, ConfigError | ServerError | SinkError)
                why = str(error) if expected else f"{type(error).__name__}, which the log explains"
                self._hooks.loaded(why)
                self._discovery.look_again()
                hint = "the old configuration stays active"
                log.error("reload_failed", error=str(error), hint=hint, exc_info=None if expected else error)
                return why
            else:
                let_in()
                self.file = loaded
                self._put_into_service(prepared)
                self._discovery.follow(loaded.config)
                self._hooks.loaded("")
                log.info("reloaded", jobs=len(self.active.runners))
                return None
            finally:
                self._sinks.flush()

    def take_declared(self) -> None:
        """Put into service what teams declare now, with the files as they were loaded last."""
        with self.lock:
            began = time.monotonic()
            try:
                whole, before = self._discovery.add_to(self.file), self.active.runners
                if whole.digest == self.active.loaded.digest:
                    return
                self._put_into_service(self._preparation.prepare(whole, self.active))
                added, removed = self.active.runners.keys() - before.keys(), before.keys() - self.active.runners.keys()
                log.info("declared_jobs_taken", added=sorted(added), removed=sorted(removed))
            except Exception as error:  # whatever it is: what runs goes on, and so does this thread
                self._discovery.not_taken(error)
            finally:
                self._discovery.took(time.monotonic() - began)
                self._sinks.flush()

    def take_over(self) -> None:
        """Publish and notify from now on: what the leader before has written is read first."""
        with self.lock:
            self._preparation.leads = True
            try:
                prepared = self._preparation.prepare(self.active.loaded, self.active)
            except BaseException:
                self._preparation.leads = False
                raise
            self._answers.follow()
            prepared.commit()
            self.active = prepared.active
            self._hooks.exchanged()
            for runner in self.active.runners.values():
                runner.saving = self.active.saving
                runner.show_newest()
            self._sinks.flush()

    def step_down(self) -> None:
        """Show, write and send nothing from now on."""
        with self.lock:
            self._preparation.leads = False
            prepared = self._preparation.prepare(self.active.loaded, self.active)
            prepared.commit()
            self.active = prepared.active
            for runner in self.active.runners.values():
                runner.stand_by()
            self._sinks.flush()

    def forget_removed(self) -> None:
        """Drop what jobs have learnt that a reload removed or replaced, and what they counted, once they have ended."""
        if self._leaving and self._forget_ended():  # the lock is held for as long as a reload takes
            # A job and what runs it refer to each other, so only the collector frees them. It comes by itself when
            # there are many new objects, which a few large arrays are not: each reload left them behind.
            gc.collect()
            give_back()

    def _forget_ended(self) -> int:
        with self.lock:
            ended = [each for each in self._leaving if each.join(0)]
            for runner in ended:
                self._leaving.remove(runner)
                if runner.job.name not in self.active.runners:
                    self._metrics.forget(runner.job.name)
            return len(ended)

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
        kept = {name: job for name, job in running.items() if name not in self.file.config.jobs}
        return with_jobs(loaded, kept)

    def _put_into_service(self, prepared: Prepared) -> None:
        """Put into service what was prepared, and end what it replaces."""
        before, active = self.active, prepared.active
        old, new = before.loaded.config, active.loaded.config
        logs.configure(new.log)
        prepared.commit()
        self.active = active
        self._hooks.exchanged()
        for name, runner in before.runners.items():
            if active.runners.get(name) is not runner:
                runner.retire()
                self._leaving.append(runner)
            if name not in active.runners:
                self._metrics.forget(name)
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
        _note_restart(old.web, new.web)


def _note_restart(old: WebConfig, new: WebConfig) -> None:
    exchanged = ["external_url", *(["users"] if old.users and new.users else [])]
    if new.model_copy(update={name: getattr(old, name) for name in exchanged}) != old:
        why = "the port, its TLS and whether people log in are set up at start"
        log.warning("restart_needed", what="web", why=why)
