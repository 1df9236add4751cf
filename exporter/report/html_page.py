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

_MOST_ROWS: Final = 100
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
class Tile:
    """A number to read first."""

    number: str
    text: str
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table: `text`, or the labels of `key`; `bar` is the width of a bar below the text, such as `50%`."""

    text: str = ""
    bad: bool = False
    bar: str = ""
    key: Key | None = None

    @property
    def empty(self) -> bool:
        """Whether a phone, which shows each row as a card, leaves the cell out."""
        return self.key is None and not self.text


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under the names of columns; the first `most_rows` are shown."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    most_rows: int = _MOST_ROWS


def page(report: Report) -> str:
    """Return the whole file. Raises ReportError where matplotlib is not installed."""
    charts.require_matplotlib()
    busiest = sorted(report.jobs, key=lambda job: (-len(job.incidents), job.share(JUDGED), job.name))
    accepted = {job.name: job.counts.get(("incidents_accepted", ""), 0.0) for job in report.jobs}
    return _TEMPLATES.get_template("report.html").render(
        report=report,
        period=report.period,
        title=f"Anomalies: the {report.period.name} to {stamp(report.period.end)}",
        tiles=_tiles(report),
        overview=charts.overview(busiest, report.period),
        legend=_LEGEND,
        drawn=charts.MOST_JOBS,
        not_drawn=len(busiest) - charts.MOST_JOBS,
        draw=charts.observed,
        jobs=_jobs(busiest, report.period),
        entities=_entities(report.incidents),
        changes=_changes(report.jobs),
        accepted=", ".join(f"{name}: {count:.0f}" for name, count in accepted.items() if count),
        quality=_quality(report.jobs),
        troubles=_troubles(report.jobs),
        doubt="" if report.judged >= 1 else f" But only {percent(report.judged)} of the time is known.",
    )


def _tiles(report: Report) -> Sequence[Tile]:
    still_open = sum(incident.still_open for incident in report.incidents)
    alerts = report.alerts
    return (
        Tile(
            "?" if alerts is None else f"{alerts:,}",
            f"alerts, budget {report.budget:.3g}",
            bad=alerts is not None and alerts > report.budget,
        ),
        Tile(f"{len(report.incidents):,}", f"incidents, {still_open:,} still open"),
        Tile(f"{report.entities:,}", "entities concerned"),
        Tile(percent(report.judged), "of the time judged", bad=report.judged < 0.99),
    )


def _jobs(jobs: Sequence[JobFacts], period: Period) -> Table:
    columns = ("job", "entities", "alerts of budget", "incidents", "time judged", "source down", "model trained")
    rows = [
        (
            Cell(job.name),
            Cell("unknown" if math.isnan(job.entities) else f"{job.entities:,.0f}"),
            _alerts(job, job.budget * period.weeks),
            Cell("unknown" if job.lost else f"{len(job.incidents):,}"),
            Cell(percent(job.share(JUDGED))) if job.share(JUDGED) else Cell("never", bad=True),
            Cell(lasting(float(job.source_down.sum()) * period.step) if job.source_down.any() else ""),
            Cell("" if math.isnan(job.trained) else stamp(job.trained)),
        )
        for job in jobs
    ]
    return Table(columns, rows)


def _alerts(job: JobFacts, budget: float) -> Cell:
    if job.alerts is None:
        return Cell("unknown" if job.lost else "not published")
    return Cell(f"{job.alerts:,} of {budget:.3g}", bad=job.alerts > budget)


def _entities(incidents: Sequence[Incident]) -> Table:
    """Return the entities that were flagged for the longest."""
    by_entity: dict[tuple[str, Key], list[Incident]] = {}
    for incident in incidents:
        by_entity.setdefault((incident.job, incident.key), []).append(incident)
    seconds = {entity: sum(incident.seconds for incident in its) for entity, its in by_entity.items()}
    top = sorted(by_entity, key=lambda entity: (-seconds[entity], entity))[:_MOST_ENTITIES]
    most = max([1.0, *seconds.values()])
    rows = [
        (
            Cell(job),
            Cell(key=key),
            Cell(lasting(seconds[job, key]), bar=f"{100 * seconds[job, key] / most:.1f}%"),
            Cell(str(len(its := by_entity[job, key]))),
            Cell(str(sum(incident.alerted for incident in its))),
            Cell(_score(float(np.fmax.reduce([incident.peak for incident in its])))),
        )
        for job, key in top
    ]
    return Table(("job", "entity", "time flagged", "incidents", "alerts", "highest score"), rows)


def _score(score: float) -> str:
    return "" if math.isnan(score) else f"{score:.3g}"


def _changes(jobs: Sequence[JobFacts]) -> Table:
    events = sorted((moment, job.name, what) for job in jobs for moment, what in job.events)
    return Table(
        ("in the hour to", "job", "what"), [(Cell(stamp(at)), Cell(job), Cell(what)) for at, job, what in events]
    )


def _quality(jobs: Sequence[JobFacts]) -> Table:
    columns = ("job", "precision", "recall", "F1", "alerts a week", "known incidents", "measured")
    return Table(columns, [[Cell(job.name), *_figures(job.backtest)] for job in jobs if job.backtest])


def _figures(backtest: Mapping[str, tuple[float, float]]) -> list[Cell]:
    measured = backtest.get("timestamp_seconds")
    cells = [_figure(*backtest[name]) if name in backtest else Cell() for name in _QUALITY]
    return [*cells, Cell(stamp(measured[1]) if measured else "")]


def _figure(first: float, last: float) -> Cell:
    """Return the figure at the end of the period, in brackets the one at its beginning if it was different."""
    before, now = (f"{number:.2f}".removesuffix(".00") for number in (first, last))
    return Cell(now if before == now else f"{now} ({before})")


def _troubles(jobs: Sequence[JobFacts]) -> Table:
    rows = [
        (Cell(job.name), Cell(_TROUBLES[name]), Cell(kind), Cell(f"{count:,.1f}".removesuffix(".0")))
        for job in jobs
        for (name, kind), count in sorted(job.counts.items())
        if name in _TROUBLES and kind not in _NO_TROUBLE and count > 0
    ]
    return Table(("job", "what", "kind", "count"), rows)


def _labels(key: Key) -> list[str]:
    texts = [f"{name}={value}" for name, value in key]
    return [text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 1] + "…" for text in texts]


def _sentence(incident: Incident) -> str:
    text = when(incident)
    return text[:1].upper() + text[1:]


_TEMPLATES: Final = environment("exporter.report")
_TEMPLATES.filters |= {"counted": counted, "labels": _labels, "lasting": lasting, "stamp": stamp, "when": _sentence}
_TEMPLATES.tests["finite"] = math.isfinite
