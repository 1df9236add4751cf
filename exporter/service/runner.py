"""One running job: its cycles on its clock, and what of them reaches the sinks."""

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Final

import structlog

from detectors.types import Key
from exporter.config.digest import JobDigests
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.models.signed_records import signing_keys
from exporter.observe.health import UNKNOWN, Health
from exporter.observe.remaining import Remaining
from exporter.observe.stages import Telemetry
from exporter.pipeline.cycle import ClockSetBack, evaluate
from exporter.pipeline.job import Job
from exporter.pipeline.verdict import Verdict
from exporter.redact import masked
from exporter.service.first_look import FirstLook
from exporter.service.free_memory import give_back
from exporter.service.state_files import StateFolder
from exporter.service.ticker import Ticker
from exporter.sinks.registry import Sinks
from exporter.source.errors import SourceError

log = structlog.get_logger()

SHOW_INTERVAL: Final = 1.0
LOG_INTERVAL: Final = 30.0
"""Seconds between two reports on the progress of a warm-up, on the page and in the log."""
MAX_ACCEPTED_LINES: Final = 50
"""Accepted incidents logged one by one; more of them are one line."""


@dataclass(frozen=True, slots=True)
class Saving:
    """Where and how often (in seconds) jobs save their state; by default never."""

    folder: StateFolder | None = None
    every: float = math.inf

    @classmethod
    def of(cls, config: Config) -> "Saving":
        """Return what a configuration asks for."""
        if config.state is None:
            return cls()
        key = config.models.key if config.models else None
        folder = StateFolder(config.state.path, lambda: signing_keys(key), config.state.shared)
        return cls(folder, config.state.every)


NEVER: Final = Saving()


class Runner:
    """Runs the cycles of one job and hands what they find to the sinks; whatever goes wrong stays within the job.

    Parameters
    ----------
    job : Job
    telemetry : Telemetry
    sinks : Sinks
    saving : Saving
        A reload may exchange it, between cycles or during one.
    """

    def __init__(self, job: Job, telemetry: Telemetry, sinks: Sinks, saving: Saving = NEVER) -> None:
        self.job, self.config, self.saving = job, job.config, saving
        self._metrics, self._telemetry, self._sinks = job.metrics, telemetry, sinks
        self._clock = Ticker(job.name, job.config.step, self.cycle, job.metrics)
        self._succeeded = self._saved = self._shown = time.monotonic()
        self._logged = -math.inf
        self._remaining = Remaining()
        self._first_look: FirstLook | None = None
        self._looked = False
        self._publishing = threading.Lock()
        self._published = self._retired = self._said_empty = self._said_alone = False
        self.health: Health = UNKNOWN
        """How the cycles go; replaced as a whole."""

    @property
    def published(self) -> bool:
        """Whether a verdict of this job is shown."""
        return self._published

    def start(self) -> None:
        """Show the verdict from before a restart as long as it is of use; run the first cycle now, then one a step."""
        last = self.job.last
        age = math.inf if last is None else time.time() - last.time - self.config.lag
        if last is not None and not self.job.warming and 0 <= age <= self.config.withdraw_after:
            self._succeeded -= age
            self._sinks.show_again(last, self.config)
            self._published = True
            self._sinks.flush()
        self._clock.start()

    def show_newest(self) -> None:
        """Show the newest verdict, which nobody could see as long as another exporter led."""
        last = self.job.last
        if last is not None and not self.job.warming:
            self._publish(last)

    def stand_by(self) -> None:
        """Show and save nothing from now on: another exporter leads."""
        with self._publishing:
            self.saving, self._published = NEVER, False
            self._sinks.withdraw(self.job.name)

    def stop(self) -> None:
        """Begin no further cycle."""
        self._clock.stop()

    def join(self, timeout: float) -> bool:
        """Wait for the cycle under way; return whether it ended within `timeout` seconds."""
        return self._clock.join(timeout)

    def reconfigure(self, config: JobConfig, digests: JobDigests, saving: Saving) -> None:
        """Decide from the next cycle on, show and save as another configuration of the same job asks."""
        self.job.reconfigure(config, digests)
        self.config, self.saving = config, saving

    def retire(self) -> None:
        """Stop, and have the sinks show nothing of this job: a reload has removed or replaced it."""
        self.stop()
        with self._publishing:
            self._retired, self._published = True, False
            self._sinks.withdraw(self.job.name)

    def accept(self, keys: Sequence[Key]) -> float:
        """Let the level of open incidents be normal from the next cycle on; return the seconds between two cycles."""
        self.job.accept(keys)
        self.note_accepted(keys)
        return self.config.step

    def note_accepted(self, keys: Sequence[Key]) -> None:
        """Count and log that the level of open incidents was accepted."""
        self._metrics.incidents_accepted(len(keys))
        for key in keys[:MAX_ACCEPTED_LINES]:
            log.warning("incident_accepted", job=self.job.name, labels=dict(key), hint="its level counts as normal now")
        if len(keys) > MAX_ACCEPTED_LINES:
            log.warning("accepted_not_listed", job=self.job.name, count=len(keys) - MAX_ACCEPTED_LINES)

    def save(self) -> None:
        """Save the job's state; no cycle may be running."""
        folder = self.saving.folder
        if folder is not None and math.isfinite(self.job.judged):
            folder.save(self.job)
            self._saved = time.monotonic()

    def withdraw_old(self) -> bool:
        """Show no scores when no cycle has succeeded for the job's max_age; return whether there were any."""
        age = time.monotonic() - self._succeeded
        if not self._published or age <= self.config.withdraw_after:
            return False
        with self._publishing:
            self._published = False
            self._sinks.withdraw(self.job.name)
        log.error("scores_withdrawn", job=self.job.name, why=f"no cycle succeeded for {age:.0f}s, see cycle_failed")
        return True

    def cycle(self, now: float) -> bool:
        """Run one cycle at `now` (Unix seconds); return whether it was a warm-up. Never raises."""
        name, metrics, telemetry = self.job.name, self._metrics, self._telemetry
        warm_up = self.job.backfill_progress(now) < 1
        began = time.monotonic()
        try:
            with telemetry.cycle(name) as span:
                verdict = shown = None
                for verdict in evaluate(
                    self.job, now, partial(telemetry.stage, name), partial(self._should_continue, now)
                ):
                    self._sinks.record(verdict)
                    # Whoever waits for it waits for the judging, not for the learning. After a failure nothing is shown
                    # that cannot be learnt: withdrawn scores would come back for a moment in every cycle.
                    if not self.health.reason and verdict.time + self.config.step > now - self.config.lag:
                        shown = verdict
                        self._publish(verdict)
                        self._sinks.flush()
                if verdict is not None:
                    span.set_attribute("entities", len(verdict.keys))
                    if verdict is not shown:
                        self._publish(verdict)
                    log_cycle(verdict, time.monotonic() - began)
                    self._warn_if_empty(verdict)
                    self._warn_if_alone(verdict)
        except SourceError as error:
            metrics.source_failed(error.reason, error.retries)
            self._failed(error.reason, error, now)
        except ClockSetBack as error:
            self._failed("clock_set_back", error, now)
        except Exception as error:  # a defect or a lack of memory in one job must not end the others
            self._failed("internal", error, now)
        else:
            self.health = self.health.succeeded(now, self.job.reader.asked)
            self._succeeded = time.monotonic()
            metrics.source_answered()
            metrics.cycle_succeeded()
            if time.monotonic() - self._saved >= self.saving.every:
                self.save()
        progress = self.job.backfill_progress(now)
        metrics.backfilled(progress)
        if progress == 1:
            self._first_look = None  # and all that it has learnt
        self.health = replace(self.health, progress=progress, seconds=time.monotonic() - began)
        self._sinks.flush()
        if warm_up and progress >= 1:
            give_back()
        return warm_up

    def _should_continue(self, now: float) -> bool:
        """Save the state when it is due and show the progress of a warm-up; return whether the cycle goes on.

        Called between two samples of the past.
        """
        if self._clock.stopping:
            return False
        at = time.monotonic()
        if at - self._saved >= self.saving.every:
            self.save()
        if self.job.warming and at - self._shown >= SHOW_INTERVAL:
            self._shown = at
            self._show_warm_up(now)
        return True

    def _show_warm_up(self, now: float) -> None:
        job, done = self.job, self.job.backfill_progress(now)
        remaining = self._remaining.seen(done, time.monotonic())
        self._metrics.backfilled(done, remaining)
        self.health = replace(self.health, progress=done, warming=len(job.window.keys), remaining=remaining)
        if remaining is not None:
            self._look(now, remaining)
        with self._publishing:
            if not (self._retired or self._published):
                self._sinks.warm(job.name, job.config.detector_name, len(job.window.keys))
        self._sinks.flush()
        if self._shown - self._logged >= LOG_INTERVAL:
            self._logged = self._shown
            reached = datetime.fromtimestamp(job.judged, UTC).isoformat()
            log.info(
                "warming_up",
                job=job.name,
                done=round(done, 3),
                reached=reached,
                entities=len(job.window.keys),
                remaining=None if remaining is None else f"{remaining:.0f}s",
            )

    def _look(self, now: float, remaining: float) -> None:
        """Show what a first look says of the newest sample, if there is anything new and the warm-up takes long."""
        if not self._looked:
            self._looked = True
            self._first_look = FirstLook.of(self.job, now - self.config.lag, remaining)
        verdict = None if self._first_look is None else self._first_look.verdict(time.time())
        if verdict is None:
            return
        with self._publishing:
            if self._retired:
                return
            self._sinks.show_first(verdict, self.config)
            if not self.health.first_look:
                self._remaining = Remaining()  # its time is not that of the warm-up
                hint = "scores of the newest hours are shown until the history is replayed"
                log.info("first_look", job=self.job.name, entities=len(verdict.keys), hint=hint)
            self._published, self._succeeded = True, time.monotonic()
        self.health = replace(self.health, first_look=True)

    def _failed(self, reason: str, error: Exception, now: float) -> None:
        self._metrics.cycle_failed()
        text = (
            str(error)
            if isinstance(error, SourceError | ClockSetBack)
            else f"{type(error).__name__}, which the log explains"
        )
        self.health = self.health.failed(reason, masked(text), now)
        hint = "the next cycle tries again"
        if self.job.warming or self.job.judged == -math.inf:
            hint = "the next cycle goes on from there; a shorter `history` asks less of the source"
        log.error("cycle_failed", job=self.job.name, reason=reason, exc_info=error, hint=hint)

    def _warn_if_empty(self, verdict: Verdict) -> None:
        """Say once that the queries of the job give no series: nothing is wrong with it, and nothing is judged."""
        empty = bool(verdict.states.get("empty"))
        if empty and not self._said_empty:
            queries = list(self.config.queries.values())
            hint = "try it in Prometheus: is the metric scraped, and are its name and labels right?"
            log.warning("no_series", job=self.job.name, expr=queries[0] if len(queries) == 1 else queries, hint=hint)
        self._said_empty = empty

    def _warn_if_alone(self, verdict: Verdict) -> None:
        """Say once that series have no peers to be compared with."""
        if verdict.without_peers is not None and not self._said_alone:
            log.warning("without_peers", job=self.job.name, text=verdict.without_peers.text)
        self._said_alone = verdict.without_peers is not None

    def _publish(self, verdict: Verdict) -> None:
        with self._telemetry.stage(self.job.name, "publish"), self._publishing:
            if not self._retired:  # by a reload, while this cycle was running
                self._sinks.show(verdict, self.config)
                self._published = True


def log_cycle(verdict: Verdict, seconds: float) -> None:
    """Write the line of a cycle."""
    log.info(
        "cycle",
        job=verdict.job,
        seconds=round(seconds, 4),
        entities=len(verdict.keys),
        flagged=int(verdict.flag.sum()),
        alerts=int(verdict.alert.sum()),
        **verdict.states,
    )
