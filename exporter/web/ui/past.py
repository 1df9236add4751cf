"""Incidents that are over, as far as they are remembered."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from detectors.types import Key
from exporter import incident_wording as wording
from exporter.json_values import finite, utc
from exporter.sinks.feedback import Feedback, Kind
from exporter.sinks.incident_log import MOST, Logged
from exporter.sinks.latest import Matcher
from exporter.sinks.notify.message import normal_instead, worst_told
from exporter.sinks.notify.notification import Incident
from exporter.web.ui.answers import PastIncident, PastIncidents, Stream
from exporter.web.ui.facts import Running
from exporter.web.ui.identity import link, series_id

MOST_OF_A_PAGE: Final = 200
UNANSWERED: Final = "no"
SAME_TIME: Final = 300.0
"""Seconds, at least, between the beginnings of incidents that are shown next to each other."""
_MOST_OTHERS: Final = 20


@dataclass(frozen=True, slots=True)
class Filter:
    """Which past incidents are asked for; None and "" ask for all. Times are Unix seconds.

    Parameters
    ----------
    job : str
    labels : tuple of Matcher
    start, end : float
        The incident touches this range of time.
    alerted : bool or None
    answered : str
        Kind of an answer to it; UNANSWERED: nobody has answered it.
    limit, offset : int
    """

    job: str = ""
    labels: tuple[Matcher, ...] = ()
    start: float = -math.inf
    end: float = math.inf
    alerted: bool | None = None
    answered: str = ""
    limit: int = MOST_OF_A_PAGE
    offset: int = 0

    def takes(self, logged: Logged, answers: Sequence[Kind]) -> bool:
        """Tell whether an incident with these answers is asked for."""
        incident = logged.incident
        over = math.inf if incident.over is None else incident.over
        return (
            (not self.job or incident.job == self.job)
            and (self.alerted is None or (self.alerted == logged.alerted and not logged.audited))
            and (not self.answered or self.answered in (answers or (UNANSWERED,)))
            and incident.since <= self.end
            and over >= self.start
            and all((incident.labels.get(each.label, "") == each.value) is each.equal for each in self.labels)
        )


def past_answer(running: Running, asked: Filter, now: float) -> PastIncidents:
    """Return the incidents that are asked for."""
    known, answers = running.incidents.past(), _Answers(running.feedback.every())
    found = [each for each in known if asked.takes(each, answers.to(each))]
    shown = found[asked.offset : asked.offset + asked.limit]
    end = asked.offset + len(shown)
    return PastIncidents(
        at=utc(now),
        total=len(found),
        offset=asked.offset,
        next=end if end < len(found) else None,
        known=len(known),
        since=utc(known[-1].incident.over or math.nan) if known else None,
        note=_note(running, len(known)),
        incidents=[past_incident(each, now, answers.to(each)) for each in shown],
    )


class _Answers:
    """The answers to incidents, of which none was taken back."""

    def __init__(self, every: Sequence[Feedback]) -> None:
        self._by_series: dict[tuple[str, Key], list[Feedback]] = {}
        for each in every:
            if each.undone is None:
                self._by_series.setdefault((each.job, each.key), []).append(each)

    def to(self, logged: Logged) -> list[Kind]:
        """Return the kinds of the answers to an incident."""
        incident = logged.incident
        key = tuple(sorted(incident.key))
        some = self._by_series.get((incident.job, key), ())
        return [each.kind for each in some if each.about(incident.job, key, incident.since)]


def past_incident(logged: Logged, now: float, answered: Sequence[Kind] = ()) -> PastIncident:
    """Return what is told of an incident, and how it was answered."""
    incident = logged.incident
    until = now if incident.over is None else incident.over
    return PastIncident(
        id=series_id(incident.job, incident.key),
        job=incident.job,
        labels=incident.labels,
        since=utc(incident.since),
        until=None if incident.over is None else utc(incident.over),
        seconds=max(until - incident.since, 0.0) if math.isfinite(incident.since) else 0.0,
        alerted=None if logged.audited else logged.alerted,
        ending=logged.ending,
        score=None if incident.score is None else finite(incident.score),
        severity=None if incident.severity is None else finite(incident.severity),
        why=worst_told(incident, until),
        streams=streams(incident),
        instead=normal_instead(incident),
        deploy=incident.deployed,
        link=link(incident.job, incident.key, incident.since),
        answered=list(answered),
    )


def streams(incident: Incident) -> list[Stream]:
    """Return the evidence at the worst reading of an incident."""
    return [Stream(each.name, each.channel, each.size, each.every, each.text) for each in incident.streams]


def at_the_same_time(logged: Sequence[Logged], since: float, but: tuple[str, str], step: float) -> list[Logged]:
    """Return incidents that began when one did at `since` (Unix seconds), the nearest first.

    `but` is job and digest of the series that is not meant.
    """
    near = [each for each in logged if abs(each.incident.since - since) <= max(SAME_TIME, 2 * step)]
    others = [each for each in near if (each.incident.job, series_id(each.incident.job, each.incident.key)) != but]
    return sorted(others, key=lambda each: abs(each.incident.since - since))[:_MOST_OTHERS]


def _note(running: Running, known: int) -> str:
    if known >= MOST:
        return f"Only the last {MOST:,} alerts and {MOST:,} other incidents are remembered; the audit file has all."
    if not running.incidents.is_kept:
        started = wording.moment(running.facts().started, dated=True)
        if running.facts().config.audit is not None:
            return (
                f"What was before the start of the exporter, {started} UTC, comes from the audit file, which does not "
                "say whether an incident was an alert. A folder (state: path) remembers that too."
            )
        return (
            f"Incidents are remembered since the start of the exporter, {started} UTC. With a folder (state: path) it "
            "remembers them over a restart too."
        )
    return ""
