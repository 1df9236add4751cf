"""What is wrong now, made from the newest verdicts: nothing that a cycle holds is waited for or changed."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np

from detectors.units import WEEK
from exporter import incident_wording as wording
from exporter.context.joint import Joint
from exporter.json_values import finite, utc
from exporter.pipeline.verdict import Verdict
from exporter.query_units import Unit
from exporter.sinks.notify.message import normal_instead, worst_told
from exporter.sinks.notify.notification import incident_of
from exporter.web.ui.answers import Channel, Group, Now, OpenIncident, PastIncident, Quiet, Unseen
from exporter.web.ui.facts import Facts, JobFacts, Running
from exporter.web.ui.identity import link, series_id
from exporter.web.ui.jobs import job_answer, unseen
from exporter.web.ui.joint import joint_answer
from exporter.web.ui.limits import limits_near, not_known
from exporter.web.ui.past import past_incident, streams
from exporter.web.ui.status_answers import Job, Jobs

MOST: Final = 200
"""Incidents in an answer: the worst."""
MOST_OF_BLIND: Final = 50

Found = tuple[Verdict, int]
"""A verdict and the row of an incident in it."""


def now_answer(running: Running, now: float) -> Now:
    """Return what is wrong at `now` (Unix seconds)."""
    facts, verdicts = running.facts(), running.feed.snapshot()[1]
    jobs = _jobs(running, facts, verdicts, now)
    found = worst(verdicts[name] for name in facts.jobs if name in verdicts)
    shown = found[:MOST]
    incidents = [incident(verdict, row, facts.jobs[verdict.job], now) for verdict, row in shown]
    groups = _groups(running, shown, incidents, now)
    near, limits = limits_near(facts, verdicts, now)
    return Now(
        at=utc(now),
        open=len(found),
        alerting=sum(bool(verdict.alert[row]) for verdict, row in found),
        shown=len(shown),
        expected=sum(0 if each.hidden is None else int(each.hidden.sum()) for each in verdicts.values()),
        groups=groups,
        last_seen=_last_seen(running, facts, verdicts, now),
        unseen=[*_answers(running), *unseen(facts, jobs), *not_known(facts, verdicts)],
        quiet=_quiet(running, facts, jobs, verdicts),
        near=near,
        limits=limits,
    )


def _groups(running: Running, shown: list[Found], incidents: list[OpenIncident], now: float) -> list[Group]:
    """Return the incidents that are shown, those that are one in one group; the worst decides where it stands."""
    joined = {job: running.joint.joined(job) for job in {verdict.job for verdict, _ in shown}}
    members: dict[str, list[tuple[float, int]]] = {}
    joints: dict[str, Joint] = {}
    for at, (verdict, row) in enumerate(shown):
        found = joined[verdict.job].get(verdict.keys[row])
        name = f"alone {at}" if found is None else found[1].id
        if found is not None:
            joints[name] = found[1]
        members.setdefault(name, []).append((float(verdict.since[row]) if found is None else found[0].moved, at))
    groups = []
    for name, some in members.items():
        order = [at for _, at in sorted(some)]
        joint = joints.get(name)
        groups.append(
            Group(
                id="" if joint is None else joint.id,
                since=utc(min(float(shown[at][0].since[shown[at][1]]) for at in order)),
                alert=any(incidents[at].alert for at in order),
                jobs=list(dict.fromkeys(incidents[at].job for at in order)),
                labels=common([incidents[at].labels for at in order]),
                because="alone" if joint is None else joint.because,
                joint=joint_answer(joint, now),
                incidents=[incidents[at] for at in order],
            )
        )
    return groups


def common(labels: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the labels that all have."""
    first, *others = labels
    return {name: value for name, value in first.items() if all(each.get(name) == value for each in others)}


def _answers(running: Running) -> list[Unseen]:
    """Return that the answers of people are not in force, where their file cannot be read."""
    return [Unseen("answers", [], running.feedback.trouble)] if running.feedback.is_damaged else []


def jobs_answer(running: Running, now: float) -> Jobs:
    """Return how all jobs stand."""
    facts, verdicts = running.facts(), running.feed.snapshot()[1]
    return Jobs(utc(now), _jobs(running, facts, verdicts, now))


def _jobs(running: Running, facts: Facts, verdicts: Mapping[str, Verdict], now: float) -> list[Job]:
    week = [each for each in running.incidents.every() if (each.alerted_at or -math.inf) > now - WEEK]
    alerts = Counter(each.incident.job for each in week)
    since = max(running.incidents.began, now - WEEK)
    return [job_answer(name, job, verdicts.get(name), alerts[name], since, now) for name, job in facts.jobs.items()]


def worst(verdicts: Iterable[Verdict]) -> list[Found]:
    """Return the open incidents: alerts by severity, then the others by how near they are to being one."""
    found: list[tuple[bool, float, float, Found]] = []
    for verdict in verdicts:
        for row in np.flatnonzero(verdict.flag).tolist():
            alert, severity = bool(verdict.alert[row]), float(verdict.severity[row])
            needed = math.nan if verdict.needed is None else float(verdict.needed[row])
            near = severity if alert or not needed > 0 else severity / needed
            found.append((not alert, -near, float(verdict.since[row]), (verdict, row)))
    found.sort(key=lambda each: each[:3])
    return [each[3] for each in found]


def incident(verdict: Verdict, row: int, facts: JobFacts, now: float) -> OpenIncident:
    """Return an open incident."""
    key, units = verdict.keys[row], facts.units
    since = float(verdict.since[row])
    told = incident_of(verdict, row, units)
    return OpenIncident(
        id=series_id(verdict.job, key),
        job=verdict.job,
        labels=dict(key),
        since=utc(since),
        seconds=max(now - since, 0.0) if math.isfinite(since) else 0.0,
        alert=bool(verdict.alert[row]),
        flapping=bool(verdict.flapping[row]),
        score=finite(verdict.score[row]),
        severity=finite(verdict.severity[row]),
        needed=None if verdict.needed is None else finite(verdict.needed[row]),
        why=worst_told(told, now),
        streams=streams(told),
        instead=normal_instead(told),
        deploy=told.deployed,
        now=_reading(channels(verdict, row, units)),
        channels=channels(verdict, row, units),
        link=link(verdict.job, key, since),
    )


def channels(verdict: Verdict, row: int, units: Mapping[str, Unit]) -> list[Channel]:
    """Return what a series shows in the newest sample."""
    return [
        Channel(
            channel=name,
            unit=units.get(name, ""),
            observed=finite(verdict.values[row, at]),
            expected=finite(verdict.expected[row, at]),
            lower=finite(verdict.lower[row, at]),
            upper=finite(verdict.upper[row, at]),
            contribution=finite(verdict.contribution[row, at]),
        )
        for at, name in enumerate(verdict.channels)
    ]


def _reading(of: list[Channel]) -> str:
    """Write the newest reading of the channel that contributes most."""
    most = max(of, key=lambda channel: channel.contribution or 0.0)
    text = wording.reading(most.observed, most.expected, most.lower, most.upper, None, most.unit)
    return f"{most.channel}: {text}" if len(of) > 1 else text


def _last_seen(running: Running, facts: Facts, verdicts: Mapping[str, Verdict], now: float) -> list[PastIncident]:
    """Return incidents that were open when their job was last judged, alerts first: that we are blind ends none."""
    blind = facts.jobs.keys() - verdicts.keys()
    found = [each for each in running.incidents.every() if each.incident.over is None and each.incident.job in blind]
    found.sort(key=lambda each: (not each.alerted, -(each.incident.severity or 0.0)))
    return [past_incident(each, now) for each in found[:MOST_OF_BLIND]]


def _quiet(running: Running, facts: Facts, jobs: list[Job], verdicts: Mapping[str, Verdict]) -> Quiet:
    over = [each.incident.over or -math.inf for each in running.incidents.past()]
    return Quiet(
        jobs=len(jobs),
        series=sum(sum(job.series.values()) - job.series.get("empty", 0) for job in jobs),
        watched=sum(verdicts[name].states.get("ready", 0) for name in facts.jobs if name in verdicts),
        since=utc(max(over)) if over else None,
        counted_since=utc(running.incidents.began),
        alerts=sum(job.alerts for job in jobs),
        budget=sum(job.budget for job in jobs),
    )
