"""One job: a fleet over time, made of what is remembered and, for what lies before, of what the source has."""

import math
from collections.abc import Iterable
from typing import Final

from detectors.types import Key
from exporter import incident_wording as wording
from exporter.json_values import utc
from exporter.pipeline.series_rows import LABELS
from exporter.promql import format_duration, quote
from exporter.sinks.latest import UnknownJob
from exporter.source.errors import SourceError
from exporter.web.ui.facts import Running
from exporter.web.ui.history import published_key
from exporter.web.ui.identity import link
from exporter.web.ui.job_answers import HeatRow, JobPage, Span
from exporter.web.ui.now import jobs_answer

MOST_ROWS: Final = 60
_CELLS: Final = 96
"""Times that the source is asked for: more would not be seen."""


def job_answer(running: Running, name: str, seconds: float, now: float) -> JobPage:
    """Return a job with the last so many seconds of its series. Raises UnknownJob."""
    job = next((each for each in jobs_answer(running, now).jobs if each.job == name), None)
    if job is None:
        raise UnknownJob
    start = now - seconds
    notes: list[str] = []
    rows = _remembered(running, name, start, now)
    if running.incidents.began > start:
        _add_published(running, name, start, min(running.incidents.began, now), rows, notes)
    worst = sorted(rows.values(), key=lambda row: (-row.alerts, -(row.severity or 0.0), sorted(row.labels.items())))
    details = running.details(name)
    verdict = running.feed.snapshot()[1].get(name)
    return JobPage(
        at=utc(now),
        job=job,
        start=utc(start),
        end=utc(now),
        rows=worst[:MOST_ROWS],
        series=None if verdict is None else len(verdict.keys),
        found=len(rows),
        notes=notes + ([details.trouble] if details.trouble else []),
        models=list(details.models),
        quality=dict(details.quality),
        quality_at=utc(details.quality_at),
        samples=details.samples,
        stages=dict(details.stages),
    )


def _remembered(running: Running, job: str, start: float, now: float) -> dict[Key, HeatRow]:
    """Return the series with an incident that is remembered."""
    rows: dict[Key, HeatRow] = {}
    latest: dict[Key, float] = {}
    for each in running.incidents.every():
        incident = each.incident
        end = now if incident.over is None else incident.over
        if incident.job != job or end < start:
            continue
        key = incident.key
        row = rows.setdefault(key, HeatRow(dict(key), 0, 0, None, [], [], link(job, key)))
        row.incidents += 1
        row.severity = max(row.severity or 0.0, incident.severity or 0.0)
        row.open.append([max(incident.since, start), end])
        if each.alerted_at is not None:
            row.alerts += 1
            row.alert.append([max(each.alerted_at, start), end])
        if incident.since >= latest.get(key, -math.inf):  # the row leads to the newest one
            latest[key], row.link = incident.since, link(job, key, incident.since)
    return rows


def _add_published(
    running: Running, job: str, start: float, end: float, rows: dict[Key, HeatRow], notes: list[str]
) -> None:
    """Add what Prometheus has scraped from us before anything is remembered; `notes` say what is missing."""
    step = max((end - start) / _CELLS, 60.0)
    found = False
    try:
        for family, spans_of in (("flag", "open"), ("alert", "alert")):
            expr = f"max_over_time(anomaly_{family}{{query={quote(job)}}}[{format_duration(math.ceil(step))}])"
            answer = running.read(f"({expr}) > 0", start, end, step)
            at = 0
            for label, count in zip(answer.labels, answer.counts.tolist(), strict=True):
                found = True
                key = published_key(LABELS.decode(label))
                row = rows.setdefault(key, HeatRow(dict(key), 0, 0, None, [], [], link(job, key)))
                spans = _spans(answer.times[at : at + count].tolist(), step)
                getattr(row, spans_of).extend(spans)
                if family == "flag":
                    row.incidents += len(spans)
                else:
                    row.alerts += len(spans)
                at += count
    except SourceError as error:
        notes.append(f"The source did not answer for the time before {_moment(end)}: {error}")
    else:
        if not found:
            notes.append(
                f"Incidents are remembered since {_moment(running.incidents.began)}; the source has none of this job "
                "from before. It has them once it scrapes the exporter."
            )


def _moment(seconds: float) -> str:
    return f"{wording.moment(seconds, dated=True)} UTC"


def _spans(times: Iterable[float], step: float) -> list[Span]:
    """Return the spans that end at `times`, each a step long, together where they touch."""
    spans: list[Span] = []
    for time in times:
        if spans and time - step <= spans[-1][1] + 1.0:
            spans[-1][1] = time
        else:
            spans.append([time - step, time])
    return spans
