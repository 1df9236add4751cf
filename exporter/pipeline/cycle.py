"""The cycle: what happens to one job every minute. The page to read first."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial

import numpy as np
import structlog

from detectors import Batch, Floats
from exporter.observe.metrics import SelfMetrics
from exporter.observe.stages import Stage, Telemetry
from exporter.pipeline.gap_filling import fill_gaps
from exporter.pipeline.initial_fit import fitted_first
from exporter.pipeline.job import Job
from exporter.pipeline.verdict import Verdict
from exporter.pipeline.window import Chunk, Window

log = structlog.get_logger()


def evaluate(
    job: Job, now: float, telemetry: Telemetry, metrics: SelfMetrics, should_continue: Callable[[], bool] = lambda: True
) -> Iterator[Verdict]:
    """Judge every sample of `job` not judged yet, the oldest first; of a warm-up only the last verdict is yielded.

    What came in while we could not ask is judged as if we had: the same verdicts, later. `should_continue` is asked
    between two samples; where it says no the cycle ends there, and the next one goes on. Raises SourceError when
    samples cannot be had; what was judged until then stays judged.
    """
    job.begin_cycle()
    until = now - job.config.lag
    measured = partial(telemetry.stage, job.name)
    read = partial(counted, job, metrics, partial(measured, "fetch"))
    pieces = read(job.window, job.first(until), until)
    if job.needs_initial_fit:
        pieces = fitted_first(job, pieces, until, read)
    verdict = None
    for window, whole in unjudged(job, pieces, until):
        if verdict is not None and not should_continue():
            return
        if whole and not job.fitted and not job.warming:
            job.ensure_fitted(fill_gaps(window, job.config.fill))
        newest = window.times[-1] + job.config.step > until
        verdict = judge(job, window, measured if newest else _unmeasured)
        if not job.warming:
            job.last = verdict
            yield verdict
    if job.warming and verdict is not None:
        job.warming = False
        # At a start every incident that is open is news, whenever in the history it began.
        job.last = replace(verdict, changed=verdict.flag.copy())
        yield job.last


def unjudged(job: Job, pieces: Iterable[Chunk], until: float) -> Iterator[tuple[Batch, bool]]:
    """Yield the window of each sample not judged yet, and whether the answer it came with was a whole one.

    Half an answer is good enough to judge, not to learn a model from.
    """
    if -np.inf < job.judged < job.window.until:  # the cycle that took it in did not come to an end
        yield job.window.newest(), False
    for piece in pieces:
        if job.judged == -np.inf:
            job.begin(piece.first, until)
        for window in job.window.take(piece):
            time = float(window.times[-1])
            if time <= job.judged + job.config.step / 2:
                continue
            if job.warming and not window.keys and time + job.config.step <= until:
                job.judged = time  # before the first series began: no time without incidents to be counted
            else:
                yield window, not piece.intake.partial


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
        decision = job.incidents.decide(
            batch.keys, score, now, step, judgement.contribution, job.take_accepted(batch.keys)
        )
        alert = job.budget.decide(batch.keys, decision.flag, decision.severity, decision.closed_severity, step)
        groups = job.groups.score(batch.keys, decision.flag, now, step)
        job.detector.update(batch.last(1), held=decision.flag, adopted=decision.adopted)
        watch = job.drift  # a reload may exchange it
        drift = None if watch is None else watch.see(score, now)
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
        contribution=np.where(np.isnan(decision.contribution), judgement.contribution, decision.contribution),
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
        config_hash=job.digests.combined,
        drift=drift,
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


def counted(
    job: Job,
    metrics: SelfMetrics,
    measured: Callable[[], AbstractContextManager[object]],
    window: Window,
    first: float,
    until: float,
) -> Iterator[Chunk]:
    """Read what a window asks for, and add to the metrics what came in and what was left out."""
    for piece in window.read(job.source, first, until, measured):
        yield piece
        name, intake = job.name, piece.intake
        metrics.samples.labels(name).inc(intake.samples)
        metrics.bytes.labels(name).inc(intake.body_bytes)
        metrics.query_retries.labels(name).inc(intake.retries)
        metrics.partial.labels(name).inc(intake.partial)
        for reason, dropped in intake.series_dropped.items():
            metrics.series_dropped.labels(name, reason).inc(dropped)
        for reason, dropped in intake.samples_dropped.items():
            metrics.samples_dropped.labels(name, reason).inc(dropped)
        if intake.series_dropped != job.dropped:  # said when it begins, changes and ends, not every minute
            told = {**dict.fromkeys(job.dropped, 0), **intake.series_dropped}
            hint = "limit: raise limits.series or narrow the query; duplicate: see entity"
            log.warning("series_dropped", job=name, **told, hint=hint)
            job.dropped = intake.series_dropped
