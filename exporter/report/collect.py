"""Collects the data of a report from Prometheus and the audit file."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.types import Flags, Floats, Key
from detectors.units import HOUR
from exporter.config.sections.root import Config
from exporter.report.data import JUDGED, SILENT, UNKNOWN, Curves, Incident, JobFacts, NoHistory, Period, Report
from exporter.report.incidents import bridged, incidents, masks, peaks, steps_of, with_audit
from exporter.report.prometheus_history import History, Series
from exporter.report.read_audit import read_audit
from exporter.report.text import missing, some, stamp

SHOWN: Final = 6
"""Incidents with a picture."""
_PREFIX: Final = "anomaly_exporter_"
_KIND_LABELS: Final = ("outcome", "reason", "method")
"""Labels by which the series of a counter differ."""


def gather(config: Config, names: Sequence[str], period: Period, pictures: bool = True) -> Report:
    """Return the report on the jobs `names`, with the curves of the longest incidents if it gets `pictures`.

    Raises ReportError when Prometheus does not answer, NoHistory when it has nothing about these jobs in the period.
    """
    with closing(History(config, names, period)) as history:
        entities = _by_job(history.states(), names)
        states = {name: _states(entities[name], period) for name in names}
        audit = read_audit(config.audit, names, period)
        if not audit.rows and not audit.intervals and all((of_job == UNKNOWN).all() for of_job in states.values()):
            raise NoHistory(
                f"no report: Prometheus at {config.prometheus.url} has nothing of "
                f"{'job' if len(names) == 1 else 'jobs'} {some(names, 3)} from {stamp(period.start)} to "
                f"{stamp(period.end)}. Does it scrape the exporter's metrics, under these job names, and does its "
                "retention reach back so far?"
            )
        flagged, alerting = masks(history.flags(), period), masks(history.alerts(), period)
        found = incidents(flagged, alerting, peaks(history.scores(), flagged, period), states, period)
        found = with_audit(found, audit, config.jobs, states, period)
        found.sort(key=lambda incident: (-incident.seconds, incident.job, incident.key))
        source_up = _by_job(history.source_up(), names)
        counters, gauges = _by_job(history.counters(), names), _by_job(history.gauges(), names)
        publishing = history.publishes_alerts()
        jobs = []
        for name in names:
            counts, events = _counter_growth(counters[name], states[name], period)
            backtest, trained = _gauges(gauges[name])
            jobs.append(
                JobFacts(
                    name=name,
                    budget=config.jobs[name].budget,
                    states=states[name],
                    source_down=_down(source_up[name], period),
                    entities=_most_entities(entities[name]),
                    open=_open_entities(flagged.get(name, {}), period),
                    incidents=[incident for incident in found if incident.job == name],
                    alerts=_alerts(alerting.get(name, {}), states[name]) if name in publishing else None,
                    counts=counts | _entity_hours(entities[name], period),
                    events=events,
                    backtest=backtest,
                    trained=trained,
                )
            )
        shown = [(incident, _curves(history, incident) if pictures else None) for incident in found[:SHOWN]]
        notes = [*missing(jobs, period), *([audit.note] if audit.note else []), *history.notes]
    return Report(period=period, made=time.time(), jobs=jobs, incidents=found, shown=shown, notes=notes)


def _by_job(found: Sequence[Series], names: Sequence[str]) -> dict[str, list[Series]]:
    by_job: dict[str, list[Series]] = {name: [] for name in names}
    for series in found:
        if (name := series.labels.get("query", "")) in by_job:
            by_job[name].append(series)
    return by_job


def _states(found: Sequence[Series], period: Period) -> NDArray[np.int8]:
    """Return what is known of a job in each step."""
    states = np.full(len(period.times), UNKNOWN, np.int8)
    for series in found:
        at = steps_of(series, period)
        states[at] = np.maximum(states[at], SILENT)
        if series.labels.get("state") == "ready":
            states[at[series.values > 0]] = JUDGED
    return states


def _most_entities(found: Sequence[Series]) -> float:
    ready = [series.values for series in found if series.labels.get("state") == "ready"]
    return float(np.fmax.reduce(np.concatenate([[np.nan], *ready])))


def _entity_hours(found: Sequence[Series], period: Period) -> dict[tuple[str, str], float]:
    """Return the hours in each state, summed over entities."""
    return {
        ("entity_hours", series.labels.get("state", "")): float(series.values.sum()) * period.step / HOUR
        for series in found
    }


def _open_entities(flagged: Mapping[Key, Flags], period: Period) -> NDArray[np.int64]:
    count = np.zeros(len(period.times), np.int64)
    for mask in flagged.values():
        count += mask
    return count


def _down(found: Sequence[Series], period: Period) -> Flags:
    down = np.zeros(len(period.times), np.bool_)
    for series in found:
        down[steps_of(series, period)[series.values == 0]] = True
    return down


def _alerts(alerting: Mapping[Key, Flags], states: NDArray[np.int8]) -> int:
    """Return how many alerts began in the period."""
    return sum(first > 0 for mask in alerting.values() for first, _, _ in bridged(mask, states))


def _counter_growth(
    found: Sequence[Series], states: NDArray[np.int8], period: Period
) -> tuple[dict[tuple[str, str], float], list[tuple[float, str]]]:
    """Return how much the counters of a job grew, and when those of drift and retrains did.

    A counter has no sample before it first counts: one that appears while its job is known has grown from zero.
    """
    known = np.flatnonzero(states != UNKNOWN)
    since = period.times[known[0]] if len(known) else period.end
    counts: dict[tuple[str, str], float] = {}
    events = []
    for series in found:
        name = series.labels.get("__name__", "").removeprefix(_PREFIX).removesuffix("_total")
        kind = next((series.labels[label] for label in _KIND_LABELS if label in series.labels), "")
        new = float(series.values[0]) if series.times[0] > since + HOUR else 0.0
        steps = np.diff(series.values)
        growth = np.concatenate([[new], np.where(steps < 0, series.values[1:], steps)])  # less than before: a restart
        counts[name, kind] = counts.get((name, kind), 0.0) + float(growth.sum())
        if name in {"drift_events", "retrains"}:
            what = f"drift seen by {kind}" if name == "drift_events" else f"retrain {kind}"
            events += [(float(moment), what) for moment in series.times[growth > 0]]
    return counts, sorted(events)


def _gauges(found: Sequence[Series]) -> tuple[dict[str, tuple[float, float]], float]:
    """Return the first and last value of each quality metric, and when the newest model was trained."""
    backtest, trained = {}, np.nan
    for series in found:
        name = series.labels.get("__name__", "").removeprefix(_PREFIX)
        if name.startswith("backtest_"):
            backtest[name.removeprefix("backtest_")] = float(series.values[0]), float(series.values[-1])
        else:
            trained = np.fmax(trained, series.values[-1])
    return backtest, float(trained)


def _curves(history: History, incident: Incident) -> Curves | None:
    """Return the curves of the channel that contributed most; None where Prometheus has no values."""
    times, found = history.around(incident)
    if not len(times):
        return None
    step = times[1] - times[0] if len(times) > 1 else 1.0
    rows: dict[tuple[str, str], Floats] = {}
    for series in found:
        family = series.labels.get("__name__", "").removeprefix("anomaly_")
        row = rows.setdefault((family, series.labels.get("channel", "")), np.full(len(times), np.nan))
        row[np.rint((series.times - times[0]) / step).astype(np.intp)] = series.values
    channels = sorted(channel for family, channel in rows if family == "value")
    if not channels:
        return None
    nothing = np.full(len(times), np.nan)
    top_channel = max(channels, key=lambda channel: float(np.nansum(rows.get(("contribution", channel), nothing))))
    flags = [row == 1 for (family, _), row in rows.items() if family == "flag"]
    return Curves(
        channel=top_channel,
        channels=len(channels),
        times=times,
        flag=np.logical_or.reduce([np.zeros(len(times), np.bool_), *flags]),
        **{family: rows.get((family, top_channel), nothing) for family in ("value", "expected", "lower", "upper")},
    )
