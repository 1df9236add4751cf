"""The cycle: what happens to one job every minute. The page to read first."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np

from detectors import Batch, Detector
from detectors.blocks import long_blocks
from exporter.json_values import utc
from exporter.observe.stages import Measure, unmeasured
from exporter.pipeline.after_deploy import Caution
from exporter.pipeline.evidence import streams_of
from exporter.pipeline.forecast_history import read_past
from exporter.pipeline.initial_fit import fit_on_history
from exporter.pipeline.job import Job
from exporter.pipeline.learning_hold import Hold
from exporter.pipeline.look_ahead import look_ahead, seen_by_detector
from exporter.pipeline.normal_band import normal_band
from exporter.pipeline.policy import STAYS_OPEN
from exporter.pipeline.verdict import Verdict, count_states
from exporter.pipeline.worst_readings import Sample
from exporter.promql import format_duration
from exporter.source.chunks import Chunk

_SET_BACK: Final = 2.0
"""Steps that the clock may be behind what was judged: it is set right by seconds all the time."""


class ClockSetBack(Exception):
    """The clock is behind the samples that were judged already. The message says by how much, and what to do."""

    def __init__(self, judged: float, now: float) -> None:
        by = format_duration(round(judged - now))
        super().__init__(
            f"the clock of this machine is {by} behind the newest judged sample ({utc(judged)}): it was set back, or "
            "was wrong before; nothing is judged until it has caught up. If it is right now, stop the exporter, remove "
            "the job's file in the state folder and start again"
        )


def evaluate(
    job: Job, now: float, measure: Measure = unmeasured, should_continue: Callable[[], bool] = lambda: True
) -> Iterator[Verdict]:
    """Judge every sample of `job` not judged yet, the oldest first; of a warm-up only the last verdict is yielded.

    Samples missed while the source was unreachable are backfilled in order, so the verdicts equal those of an
    uninterrupted run. A verdict is yielded before its sample is learnt, so that it can be shown at once; the sample is
    learnt when the next one is asked for, or when nobody asks for more. `should_continue` is called between two
    samples; if it returns False the cycle ends there, and the next one resumes. Raises SourceError when samples cannot
    be had, and ClockSetBack; what was judged until then stays judged, also where learning it failed.

    Parameters
    ----------
    job : Job
    now : float
        Unix seconds; samples up to `lag` before it are judged.
    measure : callable
        Measures the stages of the newest sample, and every read.
    should_continue : callable returning bool
    """
    job.begin_cycle()
    if job.judged - now > _SET_BACK * job.config.step:
        raise ClockSetBack(job.judged, now)
    until = now - job.config.lag
    if job.deploys is not None:
        judged = job.judged if job.window.until > -np.inf else job.fetch_start(until)
        job.deploys.catch_up(job.config.deploys, judged, until)
    chunks = job.fetch_new(until, measure, partial(look_ahead, job, until, measure))
    if job.model.needs_initial_fit:
        chunks = fit_on_history(job, chunks, until, measure)
    verdict = None
    for window, whole in unjudged(job, chunks, until):
        if verdict is not None and not should_continue():
            return
        if whole and not job.model.fitted and not job.warming:
            job.model.ensure_fitted(job.learnable(window))
        read_past(job, float(window.times[-1]))
        newest = window.times[-1] + job.config.step > until
        with long_blocks(not newest):
            verdict, learn = judge_before_learning(job, window, measure if newest else unmeasured, whole)
        try:
            if not job.warming:
                job.learnt.last = verdict
                yield verdict
        finally:
            learn()
    if job.warming and verdict is not None:
        job.learnt.warming = False
        # At a start every incident that is open is news, whenever in the history it began.
        job.learnt.last = replace(verdict, changed=verdict.flag.copy())
        yield job.learnt.last


def unjudged(job: Job, chunks: Iterable[Chunk], until: float) -> Iterator[tuple[Batch, bool]]:
    """Append `chunks` to the window; yield it for each sample not judged yet, and whether the answer was a whole one.

    A partial answer is good enough to judge, not to learn a model from.
    """
    if -np.inf < job.judged < job.window.until:  # the cycle that appended it did not come to an end
        yield job.window.newest(), False
    for chunk in chunks:
        if job.judged == -np.inf:
            job.start_backfill(chunk.first, until)
        for window in job.window.append(chunk):
            time = float(window.times[-1])
            if time <= job.judged + job.config.step / 2:
                continue
            if job.warming and not window.keys and time + job.config.step <= until:
                job.learnt.judged = time  # before the first series began: no time without incidents to be counted
            else:
                yield window, not chunk.stats.partial


def judge(job: Job, window: Batch, measure: Measure, whole: bool = True) -> Verdict:
    """Judge the newest sample of every entity, decide on its incident, and learn it.

    `whole`: the source did not say that its answer was partial.
    """
    verdict, learn = judge_before_learning(job, window, measure, whole)
    learn()
    return verdict


def judge_before_learning(job: Job, window: Batch, measure: Measure, whole: bool) -> tuple[Verdict, Callable[[], None]]:
    """Return what `judge` does, and what is to be called, once, to learn the sample before the next one is judged."""
    step, detector, learnt = job.config.step, job.model.detector, job.learnt
    with measure("prepare"):
        batch = seen_by_detector(job, window)
        means = learnt.calendar.at(float(batch.times[-1]))
    with measure("score"):
        judgement = detector.score(batch)
        counting = learnt.policy.apply(judgement, batch)
        lower, upper = normal_band(learnt.policy, judgement)
    with measure("decide"):
        now, deploys = float(batch.times[-1]), job.config.deploys
        accepted = learnt.take_accepted(batch.keys, now)
        inside, since = learnt.policy.inside(batch), learnt.incidents.open_since(batch.keys)
        deployed = None if job.deploys is None else job.deploys.newest(deploys, batch.keys, now)
        with_it = None
        if deployed is not None:
            with_it = learnt.hold.came_with(batch.keys, deployed, deploys.within, ~np.isnan(since))
        moving = learnt.hold.moving(batch, judgement, step, with_it)
        caution = Caution.of(deploys, deployed, now, step, since, learnt.policy.invalid(batch.values[:, :, -1]))
        if caution is not None:
            learnt.incidents.weigh_again(caution.begins)
        score = counting if caution is None else caution.lowered(counting)
        weighed = score if caution is None else caution.weighed(score)
        decision = learnt.incidents.decide(
            batch.keys, weighed, now, step, judgement.contribution, accepted, moving, inside
        )
        muted = learnt.calendar.muted(decision.flag, decision.since, score, now)
        alert = learnt.budget.decide(
            batch.keys, decision.flag, decision.severity, decision.closed_severity, step, caution, muted,
            learnt.groups.shared(batch.keys, decision.flag),
        )  # fmt: skip
        needed = learnt.budget.needed_by(decision.flag, decision.severity, step)
        unusual = learnt.policy.unusual(judgement, batch)
        harmless = None if with_it is None else with_it & (counting <= STAYS_OPEN)
        hold = learnt.hold.decide(batch, unusual, decision, step, accepted, moving, inside, harmless)
        watch = learnt.drift if means.learn else None  # a reload may exchange it
        drift = None if watch is None else watch.see(score, now)
        contribution = np.where(np.isnan(decision.contribution), judgement.contribution, decision.contribution)
        sample = Sample(batch.values[:, :, -1].copy(), judgement.expected, lower, upper, contribution)
        streams = streams_of(judgement.streams, learnt.policy, sample.value, decision.flag | decision.changed)
        readings = learnt.readings.take(batch.keys, now, score, sample, decision, accepted, streams)
        shown = learnt.expected.show(batch.keys, batch.channels, now, decision, sample, readings)
        recent = decision.flag.copy()
        recent[readings.rows] = True
        named = learnt.deploys.take(job.deploys, deploys, batch.keys, now, recent, decision.since)
        groups = learnt.groups.score(batch.keys, decision.flag, now, step, None if shown is None else shown.flag)
        present = np.asarray(np.isfinite(window.values[:, :, -1]).any(axis=1))
        vanished = learnt.presence.take(batch.keys, present, now, whole, live=not job.warming)
        reaches = None
        if (forecast := learnt.forecast) is not None:
            reaches = forecast.take(batch.keys, window.values[:, forecast.channel, -1], now, live=not job.warming)
        learnt.judged = now
    verdict = Verdict(
        job=job.name,
        detector=job.config.detector_name,
        time=now,
        keys=batch.keys,
        channels=batch.channels,
        values=sample.value,
        expected=sample.expected,
        lower=sample.lower,
        upper=sample.upper,
        contribution=sample.contribution,
        score=score,
        severity=decision.severity,
        flag=decision.flag,
        changed=decision.changed,
        flapping=decision.flapping,
        alert=alert,
        since=decision.since,
        states=count_states(sample.value, score) | ({"empty": 1} if job.is_empty else {}),
        groups=groups,
        model_version=job.model.version,
        config_hash=job.settings.digests.combined,
        drift=drift,
        readings=readings,
        direction=judgement.direction,
        needed=needed,
        calendar=means,
        streams=streams,
        deploys=named,
        vanished=vanished,
        reaches=reaches,
        caution=caution,
        without_peers=learnt.peers.take(batch.keys),
    )
    learn = partial(_learn, detector, batch.last(1), hold, measure) if means.learn else _learn_nothing
    return verdict if shown is None else shown.of(verdict), learn


def _learn(detector: Detector, fresh: Batch, hold: Hold, measure: Measure) -> None:
    with measure("learn"):
        detector.update(fresh, frozen=hold.frozen, rebaselined=hold.adopted)


def _learn_nothing() -> None:
    """Do nothing: the calendars leave this time out."""
