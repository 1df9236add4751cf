"""The report in words: numbers and times for people, what is missing, and the digest for a mail or a chat message."""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from detectors.types import Key
from exporter.redact import printable
from exporter.report.data import JUDGED, SILENT, UNKNOWN, Incident, JobFacts, Period, Report

_LISTED: Final = 5
_MOST_JOBS: Final = 8
"""Jobs that a sentence on missing data names."""
_LONGEST: Final = 320


def stamp(seconds: float) -> str:
    """Write a time, given in Unix seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def lasting(seconds: float) -> str:
    """Write a duration in its two largest units.

    >>> lasting(7500)
    '2 h 5 min'
    """
    minutes = round(seconds / 60)
    days, hours, rest = minutes // 1440, minutes % 1440 // 60, minutes % 60
    parts = [(days, "d"), (hours, "h"), (0 if days else rest, "min")]
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "less than a minute"


def counted(count: int, one: str, many: str | None = None) -> str:
    """Write a number with its noun.

    >>> counted(1, "alert"), counted(2, "entity", "entities")
    ('1 alert', '2 entities')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def percent(share: float) -> str:
    """Write a share of time; only all of it is 100 %, and only nothing is 0 %."""
    text = f"{share:.0%}".replace("%", " %")
    if share < 1 and text == "100 %":
        return "over 99 %"
    return "under 1 %" if share > 0 and text == "0 %" else text


def some(texts: Iterable[str], most: int, noun: str = "more") -> str:
    """Write a list of which at most `most` elements are named.

    >>> some(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    texts = list(texts)
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} {noun}" if len(texts) > most else "")


def missing(jobs: Sequence[JobFacts], period: Period) -> list[str]:
    """Return a sentence for everything that is not known and must not be taken for health."""
    causes = {
        "Nothing is known: the exporter did not run, or Prometheus did not scrape it": {
            job.name: job.share(UNKNOWN) for job in jobs
        },
        "The exporter ran, but had no verdict on any entity": {job.name: job.share(SILENT) for job in jobs},
        "The source left queries unanswered": {job.name: float(job.source_down.mean()) for job in jobs},
    }
    sentences = []
    for cause, shares in causes.items():
        seconds = {name: share * (period.end - period.start) for name, share in shares.items() if share > 0}
        if len(seconds) == len(jobs) > 1 and len({round(each) for each in seconds.values()}) == 1:
            sentences.append(f"{cause}: all jobs for {lasting(seconds[jobs[0].name])}.")
        elif seconds:
            longest_first = sorted(seconds, key=lambda name: -seconds[name])
            times = (
                f"{name} for {'the whole time' if shares[name] >= 1 else lasting(seconds[name])}"
                for name in longest_first
            )
            sentences.append(f"{cause}: {some(times, _MOST_JOBS, 'more jobs')}.")
    if unjudged := [text for job in jobs if (text := _unjudged(job))]:
        jobs_text = some(unjudged, _MOST_JOBS, "more jobs")
        sentences.append(f"Entities had no fresh sample, or could not be judged: {jobs_text}.")
    return sentences


def _unjudged(job: JobFacts) -> str:
    """Return for how long entities had no verdict for want of fresh samples, "" where under a hundredth of the time."""
    hours = {state: each for (name, state), each in job.counts.items() if name == "entity_hours"}
    lost, total = hours.get("stale", 0.0) + hours.get("error", 0.0), sum(hours.values())
    return f"{job.name} for {lost:,.1f} of {total:,.0f} entity-hours" if lost and lost >= 0.01 * total else ""


def when(incident: Incident) -> str:
    """Return how long an incident was and from when to when, with what is not certain about it."""
    known = not math.isnan(incident.since)
    begin = "since" if known else "since before" if incident.since_before else "from"
    start = incident.since if known else incident.start
    end = f" to {stamp(incident.end)}"
    if not math.isnan(incident.last_seen):
        end = f", still open when it was last seen: {stamp(incident.last_seen)}"
    elif incident.still_open:
        end = ", still open at the end of the period"
    doubts = []
    if incident.across_gap:
        doubts.append("across a gap in what is known")
    if incident.source == "audit":
        doubts.append("known from the audit file only")
    uncertain = f" ({'; '.join(doubts)})" if doubts else ""
    return f"{lasting(incident.end - start)}, {begin} {stamp(start)}{end}{uncertain}"


def digest(report: Report) -> str:
    """Return the report in a few lines of plain text."""
    lines = [f"Anomalies in the {report.period.name} to {stamp(report.period.end)}: {_headline(report)}"]
    lines += [f"! {_clipped(note)}" for note in report.notes]
    busy = sorted(report.jobs, key=lambda job: (-(job.alerts or 0), -len(job.incidents), job.name))
    shown = [job for job in busy if job.incidents or job.alerts or job.share(JUDGED) < 1][: 2 * _LISTED]
    lines += [f"- {job.name}: {_of_job(job, report.period.weeks)}" for job in shown]
    if len(busy) > len(shown):
        lines.append(f"- {len(busy) - len(shown)} of {len(busy)} jobs are not listed")
    if report.incidents:
        lines.append("Longest incidents:")
        lines += [
            f"- {_clipped(incident.job)}: {_entity(incident.key)}: {when(incident)}"
            for incident in report.incidents[:_LISTED]
        ]
    return "\n".join(lines) + "\n"


def _headline(report: Report) -> str:
    alerts = "alerts unknown"
    if report.alerts is not None:
        alerts = f"{counted(report.alerts, 'alert')} (budget {report.budget:.3g})"
    entities = f" at {counted(report.entities, 'entity', 'entities')}" if report.entities else ""
    incidents = counted(len(report.incidents), "incident")
    return f"{alerts}, {incidents}{entities}; judged {percent(report.judged)} of the time."


def _of_job(job: JobFacts, weeks: float) -> str:
    if job.lost:
        return "nothing is known"
    alerts = "alerts unknown" if job.alerts is None else f"{counted(job.alerts, 'alert')} of {job.budget * weeks:.3g}"
    parts = [alerts, counted(len(job.incidents), "incident"), f"judged {percent(job.share(JUDGED))} of the time"]
    return ", ".join(parts + [what for _, what in job.events[-2:]])


def _entity(key: Key) -> str:
    return _clipped(", ".join(f"{name}={value}" for name, value in key) or "the only series")


def _clipped(text: str) -> str:
    """Return text that a chat message can hold: printable, and not longer than a few lines."""
    text = printable(text)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
