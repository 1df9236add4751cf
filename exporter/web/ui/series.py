"""One series over a range of time, or one of its incidents."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.types import Floats, Key
from detectors.units import DAY, HOUR
from exporter import incident_wording as wording
from exporter.json_values import finite, utc
from exporter.pipeline.verdict import Verdict, entity_states
from exporter.query_units import Unit
from exporter.sinks.incident_log import Logged
from exporter.sinks.latest import Matcher, Selection, UnknownJob
from exporter.sinks.notify import notification
from exporter.sinks.notify.message import worst_told
from exporter.web.ui.answers import Channel, OpenIncident
from exporter.web.ui.curves import WIDE, Wanted, curves_of, earlier
from exporter.web.ui.facts import JobFacts, Running
from exporter.web.ui.history import History
from exporter.web.ui.identity import ids, link, series_id
from exporter.web.ui.joint import joint_answer
from exporter.web.ui.joint_answers import JointIncident
from exporter.web.ui.limits import told as limit_told
from exporter.web.ui.now import channels as channels_of
from exporter.web.ui.now import incident
from exporter.web.ui.past import at_the_same_time, past_incident
from exporter.web.ui.routed import routed_alerts
from exporter.web.ui.sent_answers import Message
from exporter.web.ui.series_answers import Ambiguous, Choice, Curve, DeployMark, Forecast, Series
from exporter.web.ui.told import samples_told

LONGEST: Final = 14 * DAY
"""Seconds of the longest range."""
SHORTEST: Final = 60.0
_MOST_CHOICES: Final = 20
_MOST_EARLIER: Final = 5
_PAST_HOURS: Final = 121
"""Hours of the past beside a forecast: as many as it looks ahead."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which series is asked for, and over which range.

    Parameters
    ----------
    job : str
    labels : tuple of Matcher
    id : str
        Digest of the series; "" where it is named by its labels.
    since : float
        When the incident began that is meant (Unix seconds), NaN: none.
    seconds : float or None
        Length of the range, None: an hour, or the incident with what lay around it.
    end : float or None
        Unix seconds, None: the newest sample, or some time after the incident.
    back : tuple of float
        Seconds before the range of other times that are laid over, two at most.
    told : bool
        Add every sample in a sentence.
    """

    job: str
    labels: tuple[Matcher, ...] = ()
    id: str = ""
    since: float = math.nan
    seconds: float | None = None
    end: float | None = None
    back: tuple[float, ...] = ()
    told: bool = False


class NoSuchSeries(Exception):
    """No series matches. The message says what to do."""


def series_answer(running: Running, history: History, asked: Asked, now: float) -> Series | Ambiguous:
    """Return one series. Raises UnknownJob, NoSuchSeries."""
    facts = running.facts()
    if asked.job not in facts.jobs:
        if (logged := running.incidents.find(asked.job, _named(asked), asked.since)) is not None:
            raise NoSuchSeries(f"The job is not in the configuration any more. What is known: {_told(logged, now)}.")
        raise UnknownJob
    verdict = running.feed.snapshot()[1].get(asked.job)
    found = matching(running, asked, verdict)
    if len(found) > 1:
        return ambiguous(asked, found)
    return _answer(running, history, facts.jobs[asked.job], asked, found[0], verdict, now)


def ambiguous(asked: Asked, found: list[Key]) -> Ambiguous:
    """Return that several series match, and some of them."""
    choices = [Choice(dict(key), link(asked.job, key, asked.since)) for key in found[:_MOST_CHOICES]]
    return Ambiguous(f"{len(found)} series of the job match; add labels to match until it is one.", choices)


def _told(logged: Logged, now: float) -> str:
    told = logged.incident
    lasting = wording.lasting(told.since, told.over, now)
    return f"{worst_told(told, told.over or now)}{wording.BETWEEN}{lasting}".removeprefix(wording.BETWEEN)


def _named(asked: Asked) -> Key:
    """Return the labels that are asked for."""
    return tuple(sorted((each.label, each.value) for each in asked.labels if each.equal and each.value))


def matching(running: Running, asked: Asked, verdict: Verdict | None) -> list[Key]:
    """Return the series that match; one that is gone is taken at its word. Raises NoSuchSeries, UnknownJob."""
    if asked.id:
        past = (each.incident for each in running.incidents.past() if each.incident.job == asked.job)
        known = {series_id(asked.job, each.key): each.key for each in past}
        known |= ids(asked.job, verdict.keys) if verdict is not None else {}
        if asked.id not in known:
            raise NoSuchSeries(
                "The job has no series with this digest now. A digest cannot be read backwards: once a series is gone "
                "only a link with its labels (match=) shows its past."
            )
        return [known[asked.id]]
    wanted = _named(asked)
    found = running.feed.entities(Selection((asked.job,), asked.labels))
    exact = [key for key in found if tuple(sorted(key)) == wanted]
    if exact:
        return exact
    if running.incidents.find(asked.job, wanted, asked.since) is not None:
        return [wanted]
    if found:
        return found
    if not wanted or len(wanted) != len(asked.labels):
        raise NoSuchSeries("The job has no series that matches now; /status shows what it has.")
    return [wanted]


def _answer(
    running: Running, history: History, job: JobFacts, asked: Asked, key: Key, verdict: Verdict | None, now: float
) -> Series:
    row = verdict.keys.index(key) if verdict is not None and key in verdict.keys else None
    there = (verdict, row) if verdict is not None and row is not None else None
    logged = running.incidents.find(asked.job, key, asked.since) if math.isfinite(asked.since) else None
    over = None if logged is None else logged.incident.over
    start, end = _range(asked, over, job, now if verdict is None else verdict.time, now)
    wanted = Wanted(asked.job, key, job, start, end, [])
    curves = curves_of(wanted, running.recent.curves(asked.job, [key]).get(key), history)
    before = [earlier(wanted, history, curves.times, back) for back in asked.back]
    open_now = _open(there, job, now)
    past = None
    if math.isfinite(asked.since) and (open_now is None or open_now.since != utc(asked.since)):
        if logged is not None:
            past = past_incident(logged, now)
        else:
            wanted.notes.append(
                f"The exporter does not remember the incident of {utc(asked.since)}: the range is where it was."
            )
    own = asked.job, series_id(asked.job, key)
    meant = _meant(running, asked, key, there, job)
    near = at_the_same_time(running.incidents.every(), asked.since, own, job.config.step)
    units = job.units
    joint = joint_answer(None if meant is None else running.joint.of(asked.job, key, meant.since), now)
    gone = "" if verdict is None else verdict.vanished.get(key, "")
    return Series(
        id=own[1],
        job=asked.job,
        labels=dict(key),
        state=_state(verdict, row),  # type: ignore[arg-type]  # the names of states
        judged=None if verdict is None else utc(verdict.time),
        score=None if there is None else finite(there[0].score[there[1]]),
        incident=open_now,
        past=past,
        joint=joint,
        others=[past_incident(each, now) for each in near],
        earlier=[past_incident(each, now) for each in _earlier(running, asked, key, meant)],
        worst_at=None if meant is None or meant.at is None else utc(meant.at),
        worst=[] if meant is None else [_worst_of(each) for each in meant.channels],
        sent=[] if meant is None else sent_on(running, meant),
        routed=list(running.facts().config.alerting.receivers_of(job.config.alert)),
        alerts=None if open_now is None else routed_alerts(running, asked.job, key, wanted.notes),
        channels=[] if there is None else channels_of(*there, units),
        start=start,
        end=end,
        times=np.round(curves.times, 3).tolist(),
        curves=[
            Curve(
                channel=name,
                unit=units.get(name, ""),
                before=_plain(before[0][:, at]) if before else [],
                week_before=_plain(before[1][:, at]) if len(before) > 1 else [],
                **{family: _plain(getattr(curves, family)[:, at]) for family in WIDE},
            )
            for at, name in enumerate(wanted.channels)
        ],
        scores=_plain(curves.score),
        flag=_plain(curves.flag),
        alert=_plain(curves.alert),
        notes=wanted.notes,
        deploys=[DeployMark(each.at, each.name) for each in running.deploys(asked.job, key, start, end)],
        link=link(asked.job, key, asked.since),
        limit="" if there is None else limit_told(*there, job, now),
        forecast=_forecast(running, verdict, key, units),
        findings=_findings(meant, joint, gone),
        told=samples_told(curves, before, wanted.channels, units) if asked.told else [],
    )


def _forecast(running: Running, verdict: Verdict | None, key: Key, units: Mapping[str, Unit]) -> Forecast | None:
    """Return how a series goes on from the newest sample, None where it has no limit, or too little is known of it."""
    found = None if verdict is None else running.cone(verdict.job, key, verdict.time)
    if verdict is None or found is None:
        return None
    past = slice(-_PAST_HOURS, None)
    name = verdict.channels[found.channel]
    return Forecast(
        name, units.get(name, ""), found.limit, found.past_times[past].tolist(), _plain(found.past[past]),
        found.times.tolist(), _plain(found.early), _plain(found.expected), _plain(found.late),
    )  # fmt: skip


def _findings(meant: notification.Incident | None, joint: JointIncident | None, gone: str) -> str:
    """Write what is known of an incident beside its readings, the most useful first; `gone` is why its series ended."""
    return wording.ordered(
        vanished=wording.VANISHED.get(gone, ""),
        deploy=f"began {meant.deployed}" if meant is not None and meant.deployed else "",
        together=f"one of {joint.text}" if joint is not None else "",
        limit="" if meant is None else meant.limit,
    )


def _meant(
    running: Running, asked: Asked, key: Key, there: tuple[Verdict, int] | None, job: JobFacts
) -> notification.Incident | None:
    """Return the incident that the page is about: that of `since`, else the one that is open."""
    if math.isfinite(asked.since) and (logged := running.incidents.find(asked.job, key, asked.since)) is not None:
        return logged.incident
    if there is None or not there[0].flag[there[1]]:
        return None
    found = notification.incident_of(*there, job.units)
    return None if math.isfinite(asked.since) and abs(found.since - asked.since) >= 1.0 else found


def _earlier(running: Running, asked: Asked, key: Key, meant: notification.Incident | None) -> list[Logged]:
    """Return the last incidents of a series that are over, but for the one the page is about."""
    wanted = tuple(sorted(key))
    own = (each for each in running.incidents.past() if each.incident.job == asked.job and each.incident.key == wanted)
    return [each for each in own if meant is None or each.incident.since != meant.since][:_MOST_EARLIER]


def _worst_of(channel: notification.Channel) -> Channel:
    return Channel(
        channel=channel.name, unit=channel.unit, observed=channel.observed, expected=channel.expected,
        lower=channel.lower, upper=channel.upper, contribution=channel.contribution,
    )  # fmt: skip


def sent_on(running: Running, incident: notification.Incident) -> list[Message]:
    """Return what the exporter itself has sent on an incident."""
    sent = running.sent.of(incident.job, incident.key, incident.since)
    return [Message(utc(each.at), each.receiver, each.what) for each in sent]


def _range(asked: Asked, over: float | None, job: JobFacts, newest: float, now: float) -> tuple[float, float]:
    """Return from when to when (Unix seconds) is shown: around an incident if one is meant."""
    step, end, seconds = job.config.step, asked.end, asked.seconds
    if math.isfinite(asked.since):
        until = over if over is not None else newest
        margin = min(max(until - asked.since, HOUR), DAY)
        end = until + margin / 2 if end is None else end
        seconds = min(end, newest) - asked.since + margin if seconds is None else seconds
    end = min(newest if end is None else end, newest, now)
    end = math.floor(end / step) * step
    return end - min(max(seconds or HOUR, SHORTEST, 2 * step), LONGEST), end


def _open(there: tuple[Verdict, int] | None, job: JobFacts, now: float) -> OpenIncident | None:
    if there is None or not there[0].flag[there[1]]:
        return None
    return incident(*there, job, now)


def _state(verdict: Verdict | None, row: int | None) -> str:
    if verdict is None:
        return "unknown"
    if row is None:
        return "gone"
    states = entity_states(verdict.values[row], verdict.score[row])
    return next(name for name, is_it in states.items() if is_it)


def _plain(values: Floats) -> list[float | None]:
    """Return numbers as JSON has them, with the seven digits that are remembered."""
    return [float(f"{value:.7g}") if math.isfinite(value) else None for value in values.tolist()]
