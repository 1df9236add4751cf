"""One job in service: its cycles on its clock, and what of them reaches the sinks."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final

import numpy as np
import structlog

from detectors.types import Key
from exporter.models.retrain_requests import RetrainFolder, RetrainRequest
from exporter.observe.metrics import SelfMetrics
from exporter.observe.stages import Telemetry
from exporter.pipeline.cycle import evaluate
from exporter.pipeline.drift import Drift
from exporter.pipeline.job import Job
from exporter.pipeline.verdict import Verdict
from exporter.service.state_files import StateFolder
from exporter.service.ticker import Ticker
from exporter.sinks.audit import Audit
from exporter.sinks.latest import LatestVerdicts
from exporter.sinks.metrics_page import Page
from exporter.sinks.notify.notifier import Notifier
from exporter.source.errors import SourceError

log = structlog.get_logger()

SHOWN_EVERY: Final = 1.0
LOGGED_EVERY: Final = 30.0
"""Seconds between two signs of life of a warm-up, on the page and in the log."""
MOST_FLAG_LINES: Final = 50
"""Flag changes logged one by one in a cycle; a storm of thousands would drown what matters."""


@dataclass(slots=True)
class Sinks:
    """Where verdicts go. A reload may exchange the audit file and the folder of saved states.

    `done` is called after every cycle, whatever came of it; `save_every` is in seconds.
    """

    page: Page
    metrics: SelfMetrics
    telemetry: Telemetry
    audit: Audit | None
    state: StateFolder | None
    done: Callable[[], None]
    save_every: float = math.inf
    notifier: Notifier | None = None
    feed: LatestVerdicts = field(default_factory=LatestVerdicts)
    retrain: RetrainFolder | None = None


class Runner:
    """Runs the cycles of one job and publishes what they find; whatever goes wrong stays within the job."""

    def __init__(self, job: Job, sinks: Sinks) -> None:
        self.job, self._sinks = job, sinks
        self._clock = Ticker(job.name, job.config.step, self.cycle, sinks.metrics)
        self._succeeded = self._saved = self._shown = time.monotonic()
        self._logged = -math.inf
        self._publishing = threading.Lock()
        self._published = self._retired = False

    @property
    def published(self) -> bool:
        """Whether the page holds a verdict of this job."""
        return self._published

    def start(self) -> None:
        """Show the verdict from before a restart as long as it is of use; run the first cycle now, then one a step."""
        last = self.job.last
        age = math.inf if last is None else time.time() - last.time - self.job.config.lag
        if last is not None and not self.job.warming and 0 <= age <= self.job.config.withdraw_after:
            self._succeeded -= age
            self._show(last)
            self._sinks.done()
        self._clock.start()

    def stop(self) -> None:
        """Begin no further cycle."""
        self._clock.stop()

    def join(self, timeout: float) -> bool:
        """Wait for the cycle under way; return whether it ended within `timeout` seconds."""
        return self._clock.join(timeout)

    def retire(self) -> None:
        """Stop, and take everything of this job off the page: a reload has removed or replaced it."""
        self.stop()
        with self._publishing:
            self._retired, self._published = True, False
            self._sinks.page.withdraw(self.job.name)
            self._sinks.feed.withdraw(self.job.name)

    def accept(self, keys: Sequence[Key]) -> float:
        """Let the level of open incidents be normal from the next cycle on; return the seconds between two cycles."""
        self.job.accept(keys)
        self._sinks.metrics.accepted.labels(self.job.name).inc(len(keys))
        for key in keys[:MOST_FLAG_LINES]:
            log.warning("incident_accepted", job=self.job.name, labels=dict(key), hint="its level counts as normal now")
        if len(keys) > MOST_FLAG_LINES:
            log.warning("accepted_not_listed", job=self.job.name, count=len(keys) - MOST_FLAG_LINES)
        return self.job.config.step

    def save(self) -> None:
        """Save the job's state; no cycle may be running."""
        if self._sinks.state is not None and math.isfinite(self.job.judged):
            self._sinks.state.save(self.job)
            self._saved = time.monotonic()

    def withdraw_old(self) -> bool:
        """Take scores off the page when no cycle has succeeded for the job's max_age; return whether there were any."""
        age = time.monotonic() - self._succeeded
        if not self._published or age <= self.job.config.withdraw_after:
            return False
        with self._publishing:
            self._published = False
            self._sinks.page.withdraw(self.job.name)
            self._sinks.feed.withdraw(self.job.name)
        log.error("scores_withdrawn", job=self.job.name, why=f"no cycle succeeded for {age:.0f}s, see cycle_failed")
        return True

    def cycle(self, now: float) -> bool:
        """Run one cycle at `now` (Unix seconds); return whether it was a warm-up. Never raises."""
        name, metrics, telemetry = self.job.name, self._sinks.metrics, self._sinks.telemetry
        warm_up = self.job.backfill_progress(now) < 1
        began = time.monotonic()
        try:
            with telemetry.cycle(name) as span:
                verdict = None
                for verdict in evaluate(
                    self.job, now, partial(telemetry.stage, name), partial(self._should_continue, now)
                ):
                    self._record(verdict)
                if verdict is not None:
                    span.set_attribute("entities", len(verdict.keys))
                    with telemetry.stage(name, "publish"):
                        self._publish(verdict)
                    log_cycle(verdict, time.monotonic() - began)
        except SourceError as error:
            metrics.source_up.labels(name).set(0)
            metrics.query_errors.labels(name, error.reason).inc()
            metrics.query_retries.labels(name).inc(error.retries)
            self._failed(error.reason, error)
        except Exception as error:  # a defect or a lack of memory in one job must not end the others
            self._failed("internal", error)
        else:
            self._succeeded = time.monotonic()
            metrics.source_up.labels(name).set(1)
            metrics.cycles.labels(name, "success").inc()
            metrics.last_success.labels(name).set_to_current_time()
            if time.monotonic() - self._saved >= self._sinks.save_every:
                self.save()
        metrics.warm_up.labels(name).set(self.job.backfill_progress(now))
        self._sinks.done()
        return warm_up

    def _should_continue(self, now: float) -> bool:
        """Between two samples of the past: save the state when it is time to, show how far a warm-up is.

        Return whether the cycle goes on.
        """
        if self._clock.stopping:
            return False
        at = time.monotonic()
        if at - self._saved >= self._sinks.save_every:
            self.save()
        if self.job.warming and at - self._shown >= SHOWN_EVERY:
            self._shown = at
            self._show_warm_up(now)
        return True

    def _show_warm_up(self, now: float) -> None:
        job, done = self.job, self.job.backfill_progress(now)
        self._sinks.metrics.warm_up.labels(job.name).set(done)
        with self._publishing:
            if not (self._retired or self._published):
                self._sinks.page.warm(job.name, job.config.detector_name, len(job.window.keys))
        self._sinks.done()
        if self._shown - self._logged >= LOGGED_EVERY:
            self._logged = self._shown
            reached = datetime.fromtimestamp(job.judged, UTC).isoformat()
            log.info("warming_up", job=job.name, done=round(done, 3), reached=reached, entities=len(job.window.keys))

    def _failed(self, reason: str, error: Exception) -> None:
        self._sinks.metrics.cycles.labels(self.job.name, "error").inc()
        log.error("cycle_failed", job=self.job.name, reason=reason, exc_info=error, hint="the next cycle tries again")

    def _publish(self, verdict: Verdict) -> None:
        with self._publishing:
            if self._retired:  # by a reload, while this cycle was judging
                return
            self._show(verdict)
            if self._sinks.notifier is not None:
                self._sinks.notifier.take(verdict)

    def _show(self, verdict: Verdict) -> None:
        self._sinks.page.publish(verdict, self.job.config.publish)
        self._sinks.feed.publish(verdict)
        self._published = True

    def _record(self, verdict: Verdict) -> None:
        """Write what is kept of every verdict, also of those made up for after an outage."""
        if self._sinks.audit is not None:
            self._sinks.audit.write(verdict)
        opened, closed = verdict.changed & verdict.flag, verdict.changed & ~verdict.flag
        self._sinks.metrics.flag_changes.labels(verdict.job, "open").inc(int(opened.sum()))
        self._sinks.metrics.flag_changes.labels(verdict.job, "closed").inc(int(closed.sum()))
        log_flags(verdict)
        if verdict.drift is not None:
            self._ask_to_retrain(verdict, verdict.drift)

    def _ask_to_retrain(self, verdict: Verdict, drift: Drift) -> None:
        """Count and log a lasting change, and leave a request for the training; nothing is fitted here."""
        self._sinks.metrics.drift_events.labels(verdict.job, verdict.detector, drift.method).inc()
        hint = "train the job anew, or accept the level where it is right"
        log.warning("drift", job=verdict.job, detector=verdict.detector, why=drift.reason, hint=hint)
        if self._sinks.retrain is None:
            return
        request = RetrainRequest(
            job=verdict.job,
            detector=verdict.detector,
            method=drift.method,
            reason=drift.reason,
            time=verdict.time,
            model_version=verdict.model_version,
            statistics={"before": drift.before, "now": drift.now, "hours": float(drift.hours)},
        )
        try:
            file = self._sinks.retrain.write(request)
        except OSError as error:
            log.error("retrain_request_failed", job=verdict.job, error=str(error), hint="train the job by hand")
        else:
            log.info("retrain_requested", job=verdict.job, file=str(file))


def log_flags(verdict: Verdict) -> None:
    """Write one line for each flag that changed."""
    rows = np.flatnonzero(verdict.changed)
    for row in rows[:MOST_FLAG_LINES]:
        channel = int(np.argmax(verdict.contribution[row])) if len(verdict.channels) > 1 else 0
        opened = bool(verdict.flag[row])
        numbers = {name: getattr(verdict, name)[row, channel] for name in ("expected", "lower", "upper")}
        shares = dict(zip(verdict.channels, map(_short, verdict.contribution[row]), strict=True))
        (log.warning if opened else log.info)(
            "flag",
            job=verdict.job,
            incident="opened" if opened else "closed",
            labels=dict(verdict.keys[row]),
            channel=verdict.channels[channel],
            observed=_short(verdict.values[row, channel]),
            **{name: _short(number) for name, number in numbers.items()},
            score=_short(verdict.score[row]),
            **({"contribution": shares} if len(shares) > 1 else {}),
            **({"flapping": True} if verdict.flapping[row] else {}),
        )
    if len(rows) > MOST_FLAG_LINES:
        log.warning("flags_not_listed", job=verdict.job, count=len(rows) - MOST_FLAG_LINES, hint="see the audit file")


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


def _short(number: float) -> float:
    """Return `number` with the six digits a reader can use."""
    return float(f"{number:.6g}")
