"""The cycle: what happens to one job every minute. The page to read first."""

import numpy as np
import structlog

from detectors import Batch, Floats
from exporter.job import Job
from exporter.metrics import SelfMetrics
from exporter.prepare import fill_gaps
from exporter.telemetry import Telemetry
from exporter.verdict import Verdict
from exporter.window import Intake

log = structlog.get_logger()


def evaluate(job: Job, now: float, telemetry: Telemetry, metrics: SelfMetrics) -> Verdict | None:
    """Judge the newest sample of every entity of `job`; None when there is no sample newer than the last judged.

    Raises SourceError when the samples cannot be had; the job is then as it was before.
    """
    with telemetry.stage(job.name, "fetch"):
        window, intake = job.window.extend(job.source, now - job.config.lag, job.span)
        count(job, intake, metrics)
    if window.times[-1] <= job.judged:
        return None
    with telemetry.stage(job.name, "prepare"):
        history = fill_gaps(window, job.config.fill)
        if not intake.partial:  # half an answer is good enough to judge, not to learn a model from
            job.ensure_fitted(history)
        batch = history.last(job.window.samples)
        fresh = batch.after(job.judged)
    with telemetry.stage(job.name, "score"):
        judgement = job.detector.score(batch)
        score = job.policy.apply(judgement, batch)
    with telemetry.stage(job.name, "decide"):
        now, elapsed = float(batch.times[-1]), len(fresh.times) * job.config.step
        decision = job.incidents.decide(batch.keys, score, now, elapsed)
        alert = job.budget.decide(batch.keys, decision.flag, decision.severity, decision.closed_severity, elapsed)
        groups = job.groups.score(batch.keys, decision.flag, now, elapsed)
        job.detector.update(fresh, held=decision.flag, adopted=decision.adopted)
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
        blame=judgement.blame,
        score=score,
        severity=decision.severity,
        flag=decision.flag,
        changed=decision.changed,
        alert=alert,
        since=decision.since,
        states=states(batch, score),
        groups=groups,
        model_version=job.model_version,
        config_hash=job.digest,
    )


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
