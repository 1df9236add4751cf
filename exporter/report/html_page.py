"""The page: one HTML file with everything in it, for a screen, a phone and paper.

What the page says is decided here and in `text`; how it is marked up is in `templates/`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.types import Key
from exporter.report import charts
from exporter.report.data import JUDGED, Incident, JobFacts, Period, Report
from exporter.report.text import counted, lasting, percent, stamp, when
from exporter.templating import environment

_MOST_ENTITIES: Final = 10
_LONGEST_LABEL: Final = 120
_LEGEND: Final = (
    (charts.FLAG, "an entity flagged"),
    (charts.FINE, "judged"),
    (charts.QUIET, "no verdict"),
    (charts.DOWN, "source without answer"),
    (charts.NOTHING, "nothing known"),
)
_TROUBLES: Final = {
    "query_errors": "failed queries",
    "partial_responses": "partial answers of the source",
    "series_dropped": "series left out, each cycle counted",
    "samples_dropped": "samples left out",
    "model_loads": "model files refused",
    "cycles": "cycles",
    "entity_hours": "entity-hours without a verdict",
}
_NO_TROUBLE: Final = {"success", "loaded", "missing", "ready"}
_QUALITY: Final = ("precision", "recall", "f1", "alerts_per_week", "events")


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell that is not plain text: bad news, text above a bar of a width such as `50%`, or the labels of `key`."""

    text: str = ""
    bad: bool = False
    bar: str = ""
    key: Key | None = None


Rows = Sequence[Sequence[Cell | str]]


def page(report: Report) -> str:
    """Return the whole file. Raises ReportError where matplotlib is not installed."""
    charts.require_matplotlib()
    busiest = sorted(report.jobs, key=lambda job: (-len(job.incidents), job.share(JUDGED), job.name))
    accepted = {job.name: job.counts.get(("incidents_accepted", ""), 0.0) for job in report.jobs}
    return _TEMPLATES.get_template("report.html").render(
        report=report,
        period=report.period,
        title=f"Anomalies: the {report.period.name} to {stamp(report.period.end)}",
        still_open=sum(incident.still_open for incident in report.incidents),
        overview=charts.overview(busiest, report.period),
        legend=_LEGEND,
        drawn=charts.MOST_JOBS,
        not_drawn=len(busiest) - charts.MOST_JOBS,
        draw=charts.observed,
        jobs=_jobs(busiest, report.period),
        entities=_entities(report.incidents),
        changes=_changes(report.jobs),
        accepted=", ".join(f"{name}: {count:.0f}" for name, count in accepted.items() if count),
        quality=[(job.name, *_quality(job.backtest)) for job in report.jobs if job.backtest],
        troubles=_troubles(report.jobs),
        doubt="" if report.judged >= 1 else f" But only {percent(report.judged)} of the time is known.",
    )


def _jobs(jobs: Sequence[JobFacts], period: Period) -> Rows:
    return [
        (
            job.name,
            "unknown" if math.isnan(job.entities) else f"{job.entities:,.0f}",
            _alerts(job, job.budget * period.weeks),
            "unknown" if job.lost else f"{len(job.incidents):,}",
            percent(job.share(JUDGED)) if job.share(JUDGED) else Cell("never", bad=True),
            lasting(float(job.source_down.sum()) * period.step) if job.source_down.any() else "",
            "" if math.isnan(job.trained) else stamp(job.trained),
        )
        for job in jobs
    ]


def _alerts(job: JobFacts, budget: float) -> Cell | str:
    if job.alerts is None:
        return "unknown" if job.lost else "not published"
    text = f"{job.alerts:,} of {budget:.3g}"
    return Cell(text, bad=True) if job.alerts > budget else text


def _entities(incidents: Sequence[Incident]) -> Rows:
    """Return the entities that were flagged for the longest."""
    by_entity: dict[tuple[str, Key], list[Incident]] = {}
    for incident in incidents:
        by_entity.setdefault((incident.job, incident.key), []).append(incident)
    seconds = {entity: sum(incident.seconds for incident in its) for entity, its in by_entity.items()}
    top = sorted(by_entity, key=lambda entity: (-seconds[entity], entity))[:_MOST_ENTITIES]
    most = max([1.0, *seconds.values()])
    return [
        (
            job,
            Cell(key=key),
            Cell(lasting(seconds[job, key]), bar=f"{100 * seconds[job, key] / most:.1f}%"),
            str(len(by_entity[job, key])),
            str(sum(incident.alerted for incident in by_entity[job, key])),
            _score(float(np.fmax.reduce([incident.peak for incident in by_entity[job, key]]))),
        )
        for job, key in top
    ]


def _score(score: float) -> str:
    return "" if math.isnan(score) else f"{score:.3g}"


def _changes(jobs: Sequence[JobFacts]) -> Rows:
    events = sorted((moment, job.name, what) for job in jobs for moment, what in job.events)
    return [(stamp(moment), job, what) for moment, job, what in events]


def _quality(backtest: Mapping[str, tuple[float, float]]) -> list[str]:
    measured = backtest.get("timestamp_seconds")
    figures = [_figure(*backtest[name]) if name in backtest else "" for name in _QUALITY]
    return [*figures, stamp(measured[1]) if measured else ""]


def _figure(first: float, last: float) -> str:
    """Write the figure at the end of the period, in brackets the one at its beginning if it was different."""
    before, now = (f"{number:.2f}".removesuffix(".00") for number in (first, last))
    return now if before == now else f"{now} ({before})"


def _troubles(jobs: Sequence[JobFacts]) -> Rows:
    return [
        (job.name, _TROUBLES[name], kind, f"{count:,.1f}".removesuffix(".0"))
        for job in jobs
        for (name, kind), count in sorted(job.counts.items())
        if name in _TROUBLES and kind not in _NO_TROUBLE and count > 0
    ]


def _labels(key: Key) -> list[str]:
    texts = [f"{name}={value}" for name, value in key]
    return [text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 1] + "…" for text in texts]


def _sentence(incident: Incident) -> str:
    text = when(incident)
    return text[:1].upper() + text[1:]


_TEMPLATES: Final = environment("exporter.report")
_TEMPLATES.filters |= {
    "counted": counted,
    "labels": _labels,
    "lasting": lasting,
    "number": "{:,}".format,
    "percent": percent,
    "stamp": stamp,
    "when": _sentence,
}
_TEMPLATES.tests["finite"] = math.isfinite
