"""The page: one HTML file with everything in it, for a screen, a phone and paper."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from detectors.types import Key
from exporter.report import charts
from exporter.report.components import figure, labels, section, table
from exporter.report.css import STYLE
from exporter.report.data import JUDGED, Curves, Incident, JobFacts, Report
from exporter.report.format import counted, lasting, percent, stamp
from exporter.report.html import Html, tag
from exporter.report.text import when

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""Nothing is fetched and nothing runs, whatever stands on the page."""
_TOP: Final = 10
_TROUBLES: Final = {
    "query_errors": "failed queries",
    "partial_responses": "partial answers of the source",
    "series_dropped": "series left out, each cycle counted",
    "samples_dropped": "samples left out",
    "model_loads": "model files refused",
    "cycles": "cycles",
    "entity_hours": "entity-hours without a verdict",
}
_FIGURES: Final = ("precision", "recall", "f1", "alerts_per_week", "events")


def page(report: Report) -> str:
    """Return the whole file. Raises ReportError where matplotlib is not installed."""
    charts.require_matplotlib()
    period = report.period
    title = f"Anomalies: the {period.name} to {stamp(period.end)}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Html(STYLE)),
    )
    body = tag(
        "body",
        tag("h1", title),
        tag("p", f"{stamp(period.start)} to {stamp(period.end)}, made {stamp(report.made)}", class_="quiet"),
        _tiles(report),
        _notes(report),
        _over_time(report),
        _jobs(report),
        _longest(report),
        _entities(report),
        _changes(report),
        _quality(report),
        _troubles(report),
        _reading(report),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _tiles(report: Report) -> Html:
    known = [job.alerts for job in report.jobs if job.alerts is not None]
    budget = sum(job.budget for job in report.jobs) * report.period.weeks
    judged = float(np.mean([job.share(JUDGED) for job in report.jobs]))
    still = sum(incident.still_open for incident in report.incidents)
    entities = {(incident.job, incident.key) for incident in report.incidents}
    over = bool(known) and sum(known) > budget
    tiles = (
        (f"{sum(known):,}" if known else "?", f"alerts, budget {budget:.3g}", "bad" if over else ""),
        (f"{len(report.incidents):,}", f"incidents, {still:,} still open", ""),
        (f"{len(entities):,}", "entities concerned", ""),
        (percent(judged), "of the time judged", "bad" if judged < 0.99 else ""),
    )
    return tag(
        "div",
        *(tag("div", tag("b", number, class_=look), tag("span", what), class_="tile") for number, what, look in tiles),
        class_="tiles",
    )


def _notes(report: Report) -> Html:
    if not report.notes:
        return tag("p", "Nothing was missing: every job was judged all the time.", class_="fine")
    items = (tag("li", note) for note in report.notes)
    return tag("div", tag("b", "Know before you read on"), tag("ul", *items), class_="warning")


def _over_time(report: Report) -> Html:
    busy = _busiest(report.jobs)
    more = len(busy) - charts.MOST_JOBS
    colors = (
        (charts.FLAG, "an entity flagged"), (charts.FINE, "judged"), (charts.QUIET, "no verdict"),
        (charts.DOWN, "source without answer"), (charts.NOTHING, "nothing known"),
    )  # fmt: skip
    legend = [tag("span", tag("i", style=f"background:{color}"), text) for color, text in colors]
    parts = [tag("div", charts.overview(busy, report.period), class_="wide"), tag("p", *legend, class_="legend")]
    if more > 0:
        parts.append(tag("p", f"The picture has the {charts.MOST_JOBS} busiest jobs; {more} more are not in it."))
    return section("Anomalies over time", *parts)


def _jobs(report: Report) -> Html:
    period = report.period

    def row(job: JobFacts) -> list[str]:
        budget = job.budget * period.weeks
        if job.alerts is None:
            alerts: str = "unknown" if job.lost else "not published"
        else:
            over = job.alerts > budget
            alerts = tag("span", f"{job.alerts:,} of {budget:.3g}", class_="bad" if over else "")
        entities = "unknown" if np.isnan(job.entities) else f"{job.entities:,.0f}"
        trained = "" if np.isnan(job.trained) else stamp(job.trained)
        down = "" if not job.source_down.any() else lasting(float(job.source_down.sum()) * period.step)
        never = not job.share(JUDGED)
        judged = tag("span", "never" if never else percent(job.share(JUDGED)), class_="bad" if never else "")
        return [job.name, entities, alerts, "unknown" if job.lost else f"{len(job.incidents):,}", judged, down, trained]

    names = ("job", "entities", "alerts of budget", "incidents", "time judged", "source down", "model trained")
    return section("Jobs", *table(names, [row(job) for job in _busiest(report.jobs)]))


def _longest(report: Report) -> Html:
    if not report.incidents:
        return section("Longest incidents", tag("p", _none(report, "No entity was flagged.")))
    cards = [_card(number, incident, curves) for number, (incident, curves) in enumerate(report.shown)]
    parts = [tag("div", *cards, class_="cards")]
    if len(report.incidents) > len(cards):
        parts.append(tag("p", f"These are the {len(cards)} longest of {len(report.incidents):,}.", class_="quiet"))
    return section("Longest incidents", *parts)


def _card(number: int, incident: Incident, curves: Curves | None) -> Html:
    told = when(incident)
    marks = [tag("span", "alert", class_="mark")] if incident.alerted else []
    peak = "" if np.isnan(incident.peak) else f" Highest score {incident.peak:.3g}."
    if curves is None:
        drawn = tag("p", "No picture: Prometheus has no values of it (publish: value, or retention).", class_="quiet")
        channel = ""
    else:
        drawn = charts.observed(curves, number)
        channel = (
            f" Drawn is {curves.channel}, the one that contributed most of {curves.channels} channels."
            if curves.channels > 1
            else ""
        )
    return tag(
        "article",
        tag("h3", incident.job, " ", *marks),
        tag("p", *labels(incident.key), class_="labels"),
        drawn,
        tag("p", f"{told[:1].upper()}{told[1:]}.{peak}{channel}"),
    )


def _entities(report: Report) -> Html:
    if not report.incidents:
        return Html("")
    by_entity: dict[tuple[str, Key], list[Incident]] = {}
    for incident in report.incidents:
        by_entity.setdefault((incident.job, incident.key), []).append(incident)
    seconds = {each: sum(incident.seconds for incident in those) for each, those in by_entity.items()}
    top = sorted(by_entity, key=lambda each: (-seconds[each], each))
    most = max(seconds[top[0]], 1.0)
    rows = []
    for job, key in top[:_TOP]:
        those = by_entity[job, key]
        peak = np.fmax.reduce([incident.peak for incident in those])
        share = f"{100 * seconds[job, key] / most:.1f}%"
        bar = tag("span", tag("i", style=f"width:{share}"), class_="bar")
        flagged = tag("span", lasting(seconds[job, key]), bar)
        alerts = sum(incident.alerted for incident in those)
        rows.append(
            [
                job,
                tag("span", *labels(key)),
                flagged,
                str(len(those)),
                str(alerts),
                "" if np.isnan(peak) else f"{peak:.3g}",
            ]
        )
    names = ("job", "entity", "time flagged", "incidents", "alerts", "highest score")
    more = f"{len(top):,} entities were flagged; these were for the longest." if len(top) > _TOP else ""
    return section("Entities most in trouble", *table(names, rows), tag("p", more, class_="quiet"))


def _changes(report: Report) -> Html:
    events = sorted((moment, job.name, what) for job in report.jobs for moment, what in job.events)
    accepted = [(job.name, job.counts.get(("incidents_accepted", ""), 0.0)) for job in report.jobs]
    parts: list[str] = []
    if events:
        rows = [[stamp(moment), name, what] for moment, name, what in events]
        parts += table(("in the hour to", "job", "what"), rows)
    else:
        parts.append(tag("p", _none(report, "No drift was seen and nothing was retrained.")))
    if any(count for _, count in accepted):
        told = ", ".join(f"{name}: {count:.0f}" for name, count in accepted if count)
        parts.append(tag("p", f"Incidents that operators called normal (accept): {told}."))
    return section("Drift and retrains", *parts)


def _quality(report: Report) -> Html:
    rows = []
    for job in report.jobs:
        if job.backtest:
            cells = [figure(job.backtest.get(name)) for name in _FIGURES]
            made = job.backtest.get("timestamp_seconds")
            rows.append([job.name, *cells, stamp(made[1]) if made else ""])
    if not rows:
        text = "No backtest has published figures: whether the alerts were right, nobody knows (backtest --publish)."
        return section("Precision and recall", tag("p", text))
    names = ("job", "precision", "recall", "F1", "alerts a week", "known incidents", "measured")
    text = "From the backtest published last; in brackets what it was at the beginning of the period."
    missing = len(report.jobs) - len(rows)
    more = f" {counted(missing, 'job')} without figures not listed." if missing else ""
    return section("Precision and recall", *table(names, rows), tag("p", text + more, class_="quiet"))


def _troubles(report: Report) -> Html:
    rows = []
    for job in report.jobs:
        for (name, kind), count in sorted(job.counts.items()):
            bad = name in _TROUBLES and kind not in {"success", "loaded", "missing", "ready"}
            if bad and count > 0:
                rows.append([job.name, _TROUBLES[name], kind, f"{count:,.1f}".removesuffix(".0")])
    if not rows:
        return section("Troubles of the exporter", tag("p", _none(report, "None was counted.")))
    return section("Troubles of the exporter", *table(("job", "what", "kind", "count"), rows))


def _reading(report: Report) -> Html:
    step = lasting(report.period.step)
    text = (
        "An incident is the time in which an entity was flagged (anomaly_flag); an alert is one rare enough for the "
        f"budget of its job. Times are UTC, to {step}, or to a sample of the job where the audit file tells. What is "
        "interrupted only by time without a verdict counts as one incident. Durations end with the period. Time "
        "without a verdict is no healthy time: nobody looked."
    )
    return section("How to read this", tag("p", text, class_="quiet"))


def _none(report: Report, text: str) -> str:
    """Say that there is nothing, and how far that can be believed."""
    judged = float(np.mean([job.share(JUDGED) for job in report.jobs]))
    return text if judged >= 1 else f"{text} But only {percent(judged)} of the time is known."


def _busiest(jobs: Sequence[JobFacts]) -> list[JobFacts]:
    return sorted(jobs, key=lambda job: (-len(job.incidents), job.share(JUDGED), job.name))
