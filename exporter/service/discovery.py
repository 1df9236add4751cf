"""Jobs that teams declare in Kubernetes, as they are known now: from what is watched to the configuration in force."""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from exporter.config.declared import NOTHING, Refused, declared
from exporter.config.declared_objects import CONFIG_MAP, RULE, Declaration, declaration
from exporter.config.digest import config_digest
from exporter.config.load import Loaded
from exporter.config.sections.discover import DiscoverConfig
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.observe.metrics import SelfMetrics
from exporter.service import declared_file
from exporter.service.declared_events import Events
from exporter.service.object_watch import ObjectWatch, Wanted
from exporter.web.ui.facts import Discovered

log = structlog.get_logger()

REST: Final = 9.0
"""Rest after a change, in times that it took: changes take a tenth of the time at most."""
TRY_AGAIN: Final = 60.0
"""Seconds after which declared jobs that did not come into service are tried again."""
SYNC_WITHIN: Final = 10.0
"""Seconds that a start waits for the first list."""
_SHOWN: Final = 200
"""Refusals that metrics and pages show."""


def wanted(discover: DiscoverConfig | None) -> list[Wanted]:
    """Return what is to be followed."""
    if discover is None:
        return []
    found = []
    for namespace in discover.namespaces or ("",):
        if discover.config_maps is not None:
            found.append(Wanted(CONFIG_MAP, namespace, discover.config_maps))
        if discover.reads_rules:
            found.append(Wanted(RULE, namespace))
    return found


class Discovery:
    """Follows what is declared and adds it to the configuration of the files.

    Parameters
    ----------
    metrics : SelfMetrics
    writes : callable
        Whether this exporter may write into the state folder.
    speaks : callable
        Whether it is the one of several that writes Events.
    """

    def __init__(self, metrics: SelfMetrics, writes: Callable[[], bool], speaks: Callable[[], bool]) -> None:
        self._metrics, self._writes, self._events = metrics, writes, Events(speaks)
        self._folder: Path | None = None
        self._kept: Sequence[Declaration] = ()
        self._settings: DiscoverConfig | None = None
        self._watches: list[ObjectWatch] = []
        self._dirty = threading.Event()
        self._declared = NOTHING
        self._said: frozenset[tuple[str, str, str]] = frozenset()
        self._trouble = ""
        self._again_at, self._not_before = math.inf, -math.inf

    def follow(self, config: Config) -> None:
        """Follow what a configuration asks for; what is known already counts until it has been listed again.

        At a start that is what the state folder has.
        """
        discover, started = config.discover, self._settings is None
        self._folder = config.state.path if config.state else None
        if discover == self._settings:
            return
        known = self._declarations()
        if started and discover is not None and self._folder is not None:
            known = declared_file.read(self._folder)
        for each in self._watches:
            each.stop()
        self._settings = discover
        self._watches = [
            ObjectWatch(
                each,
                partial(_read, discover),
                [one for one in known if one.kind == each.kind and each.namespace in {"", one.namespace}],
                self._dirty.set,
            )
            for each in wanted(discover)
        ]
        for each in self._watches:
            each.start()
        self._dirty.set()

    def wait(self, timeout: float = SYNC_WITHIN) -> None:
        """Wait until all has been listed, or the server turns out to be away."""
        end = time.monotonic() + timeout
        while time.monotonic() < end and not all(each.synced.is_set() or each.trouble for each in self._watches):
            time.sleep(0.02)

    def stop(self, timeout: float) -> None:
        """Follow no more."""
        for each in self._watches:
            each.stop()
        end = time.monotonic() + timeout
        for each in self._watches:
            each.join(max(end - time.monotonic(), 0.0))
        self._events.stop(max(end - time.monotonic(), 0.0))

    def changed(self) -> bool:
        """Return True once after anything that `add_to` looks at has changed, or when it is to be tried again."""
        now = time.monotonic()
        if now < self._not_before or (not self._dirty.is_set() and now < self._again_at):
            return False
        self._dirty.clear()
        self._again_at = math.inf
        return True

    def took(self, seconds: float) -> None:
        """Rest after a change that took so long, however often teams change what they declare."""
        self._not_before = time.monotonic() + REST * seconds

    def look_again(self) -> None:
        """Have `changed` return True: the configuration for which it was looked last does not come into force."""
        self._dirty.set()

    def add_to(self, loaded: Loaded) -> Loaded:
        """Return the configuration of the files with the declared jobs."""
        if loaded.config.discover is None:
            self._declared = NOTHING
            self._report()
            return loaded
        self._trouble = ""
        try:
            self._declared = declared(self._declarations(), loaded.config, self._declared)
        except Exception as error:  # a defect must not end the jobs of the file, nor those that are declared already
            self._trouble = f"{type(error).__name__}, which the log explains"
            log.error("discovery_failed", exc_info=error, hint="please report this; the jobs declared before go on")
        self._report()
        self._keep()
        return with_jobs(loaded, self._declared.jobs)

    def not_taken(self, error: Exception) -> None:
        """Note that what is declared now does not come into service, and have it tried again later."""
        self._trouble = f"what teams declare now does not come into force, what runs goes on: {error}"
        self._again_at = time.monotonic() + TRY_AGAIN
        log.error("declared_jobs_not_taken", exc_info=error, hint="what runs goes on; it is tried again in a minute")

    @property
    def standing(self) -> Discovered:
        """What the pages tell of it."""
        lost = {each.trouble: each.since for each in self._watches if each.trouble}
        refused = [(_named(each), each.text) for each in self._declared.refused[:_SHOWN]]
        return Discovered(refused, lost, self._trouble)

    def _declarations(self) -> list[Declaration]:
        return [one for each in self._watches for one in each.declarations]

    def _keep(self) -> None:
        """Keep what is declared for the next start, once it is known."""
        declarations = sorted(self._declarations())
        listed = all(each.synced.is_set() for each in self._watches)
        if self._folder is not None and self._writes() and listed and declarations != self._kept:
            declared_file.write(self._folder, declarations)
            self._kept = declarations

    def _report(self) -> None:
        """Say in metrics and in the log what is in force and what is not."""
        metrics, found = self._metrics, self._declared
        metrics.discovery_up.clear()
        for each in self._watches:
            metrics.discovery_up.labels(each.wanted.kind, each.wanted.namespace).set(not each.trouble)
        metrics.discovered_jobs.clear()
        for owner in found.owners.values():
            metrics.discovered_jobs.labels(owner.namespace).inc()
        metrics.discovered_job.clear()
        for name, job in found.jobs.items():
            metrics.discovered_job.labels(name, job.alert.severity, ",".join(job.alert.receivers)).set(1)
        metrics.discovery_refused.clear()
        for refusal in found.refused[:_SHOWN]:
            where = refusal.declaration
            metrics.discovery_refused.labels(where.namespace, where.kind, where.name).inc()
        self._events.tell(found)
        now = frozenset((each.declaration.path, each.job, each.text) for each in found.refused)
        for path, name, text in sorted(now - self._said):
            hint = "the other jobs go on; check-config --declared FILE says the same before it is applied"
            log.warning("declaration_refused", declared_in=path, job=name, why=text, hint=hint)
        self._said = now


def with_jobs(loaded: Loaded, jobs: Mapping[str, JobConfig]) -> Loaded:
    """Return a configuration with more jobs; its own come first."""
    config = loaded.config.model_copy(update={"jobs": {**loaded.config.jobs, **jobs, **loaded.config.jobs}})
    return replace(loaded, config=config, digest=config_digest(config))


def _read(discover: DiscoverConfig | None, made: Mapping[str, Any]) -> Declaration | None:
    return None if discover is None else declaration(made, discover)


def _named(refused: Refused) -> str:
    where = f"{refused.declaration.kind} {refused.declaration.name} of the namespace {refused.declaration.namespace}"
    return f"the job {refused.job} in {where}" if refused.job else where
