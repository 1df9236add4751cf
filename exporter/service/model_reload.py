"""A newer model of a job: noticed, loaded and caught up next to the running cycles, active from the next one on."""

import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import structlog

from exporter.models import ModelRefused, Store, StoreError
from exporter.pipeline.cycle import evaluate
from exporter.pipeline.job import Job
from exporter.source.errors import SourceError

log = structlog.get_logger()

AGAIN: Final = 60.0
"""Seconds after which a model that was refused is looked at again."""
TRAINED: Final = ("promoted", "rejected", "failed")
"""How a training may end."""


class ModelReload:
    """Sees to it that a job is judged with the model which the store says is active.

    The cycles go on with the old model until the new one has learnt all that they have judged. One that is refused, or
    fails on the samples of today, never gets that far.
    """

    def __init__(self, job: Job, store: Store) -> None:
        self._job, self.store = job, store
        self._next: Job | None = None
        self._due = self._again = -math.inf
        self._up, self._ready = True, False
        self._shown: Mapping[str, Any] = {}

    def look(self, should_continue: Callable[[], bool]) -> None:
        """Ask the store when it is time to, and go on with what a new model has to catch up on. Never raises."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + self.store.poll
            self._ask()
        job, new = self._job, self._next
        if new is None:
            return
        if not self._ready or new.judged != job.judged:
            job.offer(None)  # from here on no cycle takes it, so that what follows is never done to an active model
            self._ready = False
        if new.model.version == job.model.version:
            self._next = None
            job.metrics.model_current(True)
            return
        if self._ready:
            return
        try:
            new.source = job.source
            new.reconfigure(job.config, job.settings.digests)
            for _ in evaluate(new, job.judged + job.config.lag, should_continue=should_continue):
                pass
        except SourceError as error:
            log.warning("model_catch_up_interrupted", job=job.name, version=new.model.version, error=str(error))
        except Exception as error:  # what cannot judge the samples of today must not become active
            self._refuse(error)
        else:
            job.offer(new)
            self._ready = True

    def _ask(self) -> None:
        job, name = self._job, self._job.settings.model_name
        try:
            self._show(self.store.recorded(name))
            pointer = self.store.current(name)
            if pointer is None or not job.is_live:  # the cycle itself loads or fits a first model
                return
            current = job.model.version == pointer.version
            job.metrics.model_current(current)
            if current:
                self._next = None
            elif self._next_version != pointer.version and time.monotonic() >= self._again:
                job.offer(None)
                self._next, self._ready = job.with_newer_model(self.store), False
                log.info(
                    "model_found", job=job.name, version=pointer.version, hint="it is swapped in when it has caught up"
                )
        except StoreError as error:
            if not isinstance(error, ModelRefused):
                self._reached(error)
                return
            self._refuse(error)
        except Exception as error:  # a state that was sealed by us and yet is none that the detector takes
            self._refuse(error)
        self._reached(None)

    @property
    def _next_version(self) -> str:
        return "" if self._next is None else self._next.model.version

    def _refuse(self, error: Exception) -> None:
        if time.monotonic() < self._again:  # said already
            return
        self._next, self._again = None, time.monotonic() + AGAIN
        self._job.metrics.model_current(False)
        self._job.metrics.model_asked("refused")
        hint = f"{self._job.model.version or 'the model fitted here'} stays active; `models rollback` goes back"
        log.error("model_refused", job=self._job.name, error=str(error), hint=hint)

    def _reached(self, error: StoreError | None) -> None:
        """Say whether the store answers: when that changes, not every time."""
        self._job.metrics.model_store_answered(error is None)
        if error is not None and self._up:
            log.error("model_store_down", job=self._job.name, error=str(error), hint="the active model stays")
        elif error is None and not self._up:
            log.info("model_store_up", job=self._job.name)
        self._up = error is None

    def _show(self, found: Mapping[str, Any] | None) -> None:
        """Show how the last training ended."""
        if not found or found == self._shown or found.get("outcome") not in TRAINED:  # a single stage is no end
            return
        metrics = self._job.metrics
        counted = self._shown.get("totals", {})
        for outcome in TRAINED:
            # Counted where the training ran, so that a restart of ours forgets none.
            more = _number(found.get("totals", {}), outcome) - _number(counted, outcome)
            metrics.trainings_counted(outcome, max(more, 0))
        outcomes = {outcome: found.get("outcome") == outcome for outcome in TRAINED}
        seconds = _number(found, "seconds")
        metrics.training_ended(outcomes, _number(found, "time") + seconds, seconds)
        self._shown = found


class ModelReloader:
    """Looks after the models of all jobs, in a thread of its own: a store without an answer holds up no cycle.

    Parameters
    ----------
    jobs : callable returning the running jobs
    store : callable returning the store, None where there is none
    """

    def __init__(self, jobs: Callable[[], Iterable[Job]], store: Callable[[], Store | None]) -> None:
        self._jobs, self._store = jobs, store
        self._stopping = threading.Event()
        self._watched: dict[Job, ModelReload] = {}

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._loop, name="models", daemon=True).start()

    def stop(self) -> None:
        """End soon."""
        self._stopping.set()

    def _loop(self) -> None:
        steps = [1.0]
        while not self._stopping.wait(min(steps)):
            store, jobs = self._store(), list(self._jobs())
            steps = [1.0, *(job.config.step / 4 for job in jobs)]
            before, self._watched = self._watched, {}
            if store is None:
                continue
            for job in jobs:
                watch = before.get(job)
                if watch is None or watch.store is not store:
                    watch = ModelReload(job, store)
                self._watched[job] = watch
                self._watched[job].look(lambda: not self._stopping.is_set())


def _number(values: Mapping[str, Any], name: str) -> float:
    found = values.get(name)
    return float(found) if isinstance(found, int | float) and math.isfinite(found) else 0.0
