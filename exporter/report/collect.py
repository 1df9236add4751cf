"""From Prometheus and the audit file to the facts of a report."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.types import Floats
from detectors.units import HOUR
from exporter.config.sections.root import Config
from exporter.report.data import JUDGED, SILENT, UNKNOWN, Curves, Incident, JobFacts, NoHistory, Period, Report
from exporter.report.format import lasting, stamp
from exporter.report.incidents import Masks, bridged, incidents, masks, peaks, steps_of, with_trail
from exporter.report.prometheus_history import History, Series
from exporter.report.read_audit import read_trail

SHOWN: Final = 6
"""Incidents with a picture."""
_PREFIX: Final = "anomaly_exporter_"
_TELLING: Final = ("outcome", "reason", "method")


def gather(config: Config, names: Sequence[str], period: Period, pictures: bool = True) -> Report:
    """Ask for everything that the report on the jobs `names` tells.

    Raises ReportError when Prometheus does not answer, NoHistory when it has nothing of these jobs in the period.
    """
    with closing(History(config, names, period)) as history:
        ready = {name: np.full(len(period.times), np.nan) for name in names}
        entities = history.states()
        states = _states(entities, ready, period)
        trail = read_trail(config.audit, names, period)
        if not trail.rows and all((of_job == UNKNOWN).all() for of_job in states.values()):
            raise NoHistory(
                f"no report: Prometheus at {config.prometheus.url} has nothing of {_some(names)} from "
                f"{stamp(period.start)} to {stamp(period.end)}. Does it scrape the exporter's page, under these job "
                "names, and does its retention reach back so far?"
            )
        flagged, alerting = masks(history.flags(), period), masks(history.alerts(), period)
        found = incidents(flagged, alerting, peaks(history.scores(), flagged, period), states, period)
        found = with_trail(found, trail, config.jobs, period)
        found.sort(key=lambda incident: (-incident.seconds, incident.job, incident.key))
        down = _down(history.source_up(), names, period)
        publishing, counters, gauges = history.publishes_alerts(), history.counters(), history.gauges()
        jobs = []
        for name in names:
            counts, events = _counted(_of(name, counters), states[name], period)
            counts |= _entity_hours(_of(name, entities), period)
            backtest, trained = _figures(_of(name, gauges))
            jobs.append(
                JobFacts(
                    name=name,
                    budget=config.jobs[name].budget,
                    states=states[name],
                    source_down=down[name],
                    entities=float(np.fmax.reduce(ready[name])),
                    open=_open(flagged, name, period),
                    incidents=[incident for incident in found if incident.job == name],
                    alerts=_alerts(alerting, name, states[name]) if name in publishing else None,
                    counts=counts,
                    events=events,
                    backtest=backtest,
                    trained=trained,
                )
            )
        longest = found[:SHOWN]
        shown = [(incident, _curves(history, incident) if pictures else None) for incident in longest]
        notes = [*_missing(jobs, period), *([trail.note] if trail.note else []), *history.notes]
    return Report(period=period, made=time.time(), jobs=jobs, incidents=found, shown=shown, notes=notes)


def _states(found: Sequence[Series], ready: Mapping[str, Floats], period: Period) -> dict[str, NDArray[np.int8]]:
    """Return by job what is known of each step, and fill in how many entities were judged."""
    states = {name: np.full(len(period.times), UNKNOWN, np.int8) for name in ready}
    for series in found:
        name = series.labels.get("query", "")
        if name not in ready:
            continue
        at = steps_of(series, period)
        states[name][at] = np.maximum(states[name][at], SILENT)
        if series.labels.get("state") == "ready":
            ready[name][at] = series.values
            states[name][at[series.values > 0]] = JUDGED
    return states


def _entity_hours(found: Sequence[Series], period: Period) -> dict[tuple[str, str], float]:
    """Return how many hours of how many entities, multiplied, were spent in each state."""
    return {
        ("entity_hours", series.labels.get("state", "")): float(series.values.sum()) * period.step / HOUR
        for series in found
    }


def _down(found: Sequence[Series], names: Sequence[str], period: Period) -> dict[str, NDArray[np.bool_]]:
    down = {name: np.zeros(len(period.times), np.bool_) for name in names}
    for series in found:
        if (name := series.labels.get("query", "")) in down:
            down[name][steps_of(series, period)[series.values == 0]] = True
    return down


def _of(job: str, found: Sequence[Series]) -> list[Series]:
    return [series for series in found if series.labels.get("query") == job]


def _open(flagged: Masks, job: str, period: Period) -> NDArray[np.int64]:
    count = np.zeros(len(period.times), np.int64)
    for mask in flagged.get(job, {}).values():
        count += mask
    return count


def _alerts(alerting: Masks, job: str, states: NDArray[np.int8]) -> int:
    """Return how many alerts began in the period."""
    begun = (first for mask in alerting.get(job, {}).values() for first, _, _ in bridged(mask, states))
    return sum(first > 0 for first in begun)


def _counted(
    found: Sequence[Series], states: NDArray[np.int8], period: Period
) -> tuple[dict[tuple[str, str], float], list[tuple[float, str]]]:
    """Return how much counters grew, and when those of drift and retrains did.

    A counter that appears while its job is known already has grown from zero: it is not there before it first counts.
    """
    known = np.flatnonzero(states != UNKNOWN)
    since = period.times[known[0]] if len(known) else period.end
    counts: dict[tuple[str, str], float] = {}
    events = []
    for series in found:
        name = series.labels.get("__name__", "").removeprefix(_PREFIX).removesuffix("_total")
        kind = next((series.labels[label] for label in _TELLING if label in series.labels), "")
        new = float(series.values[0]) if series.times[0] > since + HOUR else 0.0
        steps = np.diff(series.values)
        growth = np.concatenate([[new], np.where(steps < 0, series.values[1:], steps)])  # less than before: a restart
        counts[name, kind] = counts.get((name, kind), 0.0) + float(growth.sum())
        if name in {"drift_events", "retrains"}:
            what = f"drift seen by {kind}" if name == "drift_events" else f"retrain {kind}"
            events += [(float(moment), what) for moment in series.times[growth > 0]]
    return counts, sorted(events)


def _figures(found: Sequence[Series]) -> tuple[dict[str, tuple[float, float]], float]:
    """Return first and last figure of each kind of the backtest, and when the newest model was trained."""
    figures, trained = {}, np.nan
    for series in found:
        name = series.labels.get("__name__", "").removeprefix(_PREFIX)
        if name.startswith("backtest_"):
            figures[name.removeprefix("backtest_")] = float(series.values[0]), float(series.values[-1])
        else:
            trained = np.fmax(trained, series.values[-1])
    return figures, float(trained)


def _curves(history: History, incident: Incident) -> Curves | None:
    """Return the curves of an incident's top channel; None where Prometheus has no values."""
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
    value, expected, lower, upper = (
        rows.get((family, top_channel), nothing) for family in ("value", "expected", "lower", "upper")
    )
    flags = [row == 1 for (family, _), row in rows.items() if family == "flag"]
    return Curves(
        channel=top_channel,
        channels=len(channels),
        times=times,
        value=value,
        expected=expected,
        lower=lower,
        upper=upper,
        flag=np.logical_or.reduce(flags) if flags else np.zeros(len(times), np.bool_),
    )


def _missing(jobs: Sequence[JobFacts], period: Period) -> list[str]:
    """Return a sentence for all that must not be taken for health."""
    span = period.end - period.start
    sentences = []
    for cause, lost in (
        ("Nothing is known: the exporter did not run, or Prometheus did not scrape it", lambda job: job.share(UNKNOWN)),
        ("The exporter ran, but had no verdict on any entity", lambda job: job.share(SILENT)),
        ("The source left queries unanswered", lambda job: float(job.source_down.mean())),
    ):
        shares = {job.name: lost(job) for job in jobs if lost(job) > 0}
        if not shares:
            continue
        if len(shares) == len(jobs) > 1 and len({round(share * span) for share in shares.values()}) == 1:
            told = f"all jobs for {lasting(next(iter(shares.values())) * span)}"
        else:
            most = sorted(shares, key=lambda name: -shares[name])
            told = ", ".join(
                f"{name} for {'the whole time' if shares[name] >= 1 else lasting(shares[name] * span)}"
                for name in most[:8]
            ) + (f" and {len(most) - 8} more jobs" if len(most) > 8 else "")
        sentences.append(f"{cause}: {told}.")
    return sentences + _unjudged(jobs)


def _unjudged(jobs: Sequence[JobFacts]) -> list[str]:
    """Return a sentence on jobs a hundredth of whose entity time, or more, had no verdict for want of fresh samples."""
    told = []
    for job in jobs:
        hours = {state: each for (name, state), each in job.counts.items() if name == "entity_hours"}
        lost = hours.get("stale", 0.0) + hours.get("error", 0.0)
        if lost and lost >= 0.01 * sum(hours.values()):
            told.append(f"{job.name} for {lost:,.1f} of {sum(hours.values()):,.0f} entity-hours")
    more = f" and {len(told) - 8} more jobs" if len(told) > 8 else ""
    return [f"Entities had no fresh sample, or could not be judged: {', '.join(told[:8])}{more}."] if told else []


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"job {shown}" if len(names) == 1 else f"jobs {shown}"
