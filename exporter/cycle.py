"""The cycle: what happens to one job every minute. The page to read first."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Final

import numpy as np
import structlog

from detectors import Batch, Floats
from exporter.job import Job
from exporter.metrics import SelfMetrics
from exporter.prepare import fill_gaps
from exporter.telemetry import Stage, Telemetry
from exporter.verdict import Verdict
from exporter.window import Intake

log = structlog.get_logger()

REPLAYED: Final = 60_000
"""Samples per entity looked at to replay the past at a start: a detector with a long window judges less of it."""


def evaluate(job: Job, now: float, telemetry: Telemetry, metrics: SelfMetrics) -> Iterator[Verdict]:
    """Judge every sample of `job` not judged yet, the oldest first; of a first fill only the last verdict is yielded.

    What came in while we could not ask is judged as if we had: the same verdicts, later. Raises SourceError when the
    samples cannot be had; the job is then as it was before.
    """
    with telemetry.stage(job.name, "fetch"):
        window, intake = job.window.extend(job.source, now - job.config.lag, job.span(now))
        count(job, intake, metrics)
    due = window.times[window.times > job.judged]
    if not len(due):
        return
    cold = job.judged == -np.inf
    if cold:
        due = due[-max(REPLAYED // job.detector.window, 1) :]
    if not intake.partial:  # half an answer is good enough to judge, not to learn a model from
        job.ensure_fitted(fill_gaps(window, job.config.fill))
    for time in due[:-1]:
        verdict = judge(job, window.until(time), _unmeasured)
        if not cold:
            yield verdict
    verdict = judge(job, window, lambda stage: telemetry.stage(job.name, stage))
    # At a start every incident that is open is news, whenever in the history it began.
    yield replace(verdict, changed=verdict.flag.copy()) if cold else verdict


def judge(job: Job, window: Batch, stage: Callable[[Stage], AbstractContextManager[object]]) -> Verdict:
    """Judge the newest sample of every entity, decide on its incident, and learn it."""
    step = job.config.step
    with stage("prepare"):
        batch = fill_gaps(window.last(job.window.samples), job.config.fill)
    with stage("score"):
        judgement = job.detector.score(batch)
        score = job.policy.apply(judgement, batch)
    with stage("decide"):
        now = float(batch.times[-1])
        decision = job.incidents.decide(batch.keys, score, now, step, judgement.blame)
        alert = job.budget.decide(batch.keys, decision.flag, decision.severity, decision.closed_severity, step)
        groups = job.groups.score(batch.keys, decision.flag, now, step)
        job.detector.update(batch.last(1), held=decision.flag, adopted=decision.adopted)
        job.judged = now
    return Verdict(
        job=job.name,
        detector=job.detector_name,
        time=now,
        keys=batch.keys,
        channels=batch.channels,
        values=batch.values[:, :, -1].copy(),
        expected=judgement.expected,
        lower=judgement.lower,
        upper=judgement.upper,
        blame=np.where(np.isnan(decision.blame), judgement.blame, decision.blame),
        score=score,
        severity=decision.severity,
        flag=decision.flag,
        changed=decision.changed,
        flapping=decision.flapping,
        alert=alert,
        since=decision.since,
        states=states(batch, score),
        groups=groups,
        model_version=job.model_version,
        config_hash=job.digest,
    )


def _unmeasured(stage: Stage) -> AbstractContextManager[object]:
    del stage  # samples made up for are not part of the cycle's usual cost
    return nullcontext()


def states(batch: Batch, score: Floats) -> dict[str, int]:
    """Count entities: ready with a verdict, stale without a newest sample, warming with one but no verdict yet."""
    ready = np.isfinite(score)
    stale = ~ready & np.isnan(batch.values[:, :, -1]).all(axis=1)
    return {
        "ready": int(ready.sum()),
        "warming": int((~ready & ~stale).sum()),
        "stale": int(stale.sum()),
        "error": 0,
    }


def count(job: Job, intake: Intake, metrics: SelfMetrics) -> None:
    """Add to the metrics what one extension of the window brought in, and what it left out."""
    name = job.name
    metrics.samples.labels(name).inc(intake.samples)
    metrics.bytes.labels(name).inc(intake.body_bytes)
    metrics.query_retries.labels(name).inc(intake.retries)
    metrics.partial.labels(name).inc(intake.partial)
    for reason, dropped in intake.series_dropped.items():
        metrics.series_dropped.labels(name, reason).inc(dropped)
    for reason, dropped in intake.samples_dropped.items():
        metrics.samples_dropped.labels(name, reason).inc(dropped)
    if intake.series_dropped != job.dropped:  # said when it begins, changes and ends, not every minute
        hint = "limit: raise limits.series or narrow the query; duplicate: see entity"
        log.warning("series_dropped", job=name, **{**dict.fromkeys(job.dropped, 0), **intake.series_dropped}, hint=hint)
        job.dropped = intake.series_dropped
