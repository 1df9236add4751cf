"""The alert on the anomalies of a job; its text tells the worst reading of the incident, and since when."""

import math
from collections.abc import Mapping
from typing import Final

from detectors.auto.streams import names as names_of_streams
from exporter import incident_wording as wording
from exporter.joint_wording import ONE_OF
from exporter.promql import format_duration
from rules.alerts import names
from rules.alerts.alert import Alert, Case, series
from rules.alerts.incident_text import OLD, description
from rules.alerts.job_context import AlertedJob
from rules.alerts.joint_text import joint_incident
from rules.alerts.templates import INCIDENT, Text, dashboard_choice, entity, graph_link, literal, page_link

DETAILED: Final = 100
"""Most open incidents of a job for which alerts show readings: each costs six queries per evaluation."""
TOLD: Final = 180.0
"""Seconds for which the rule returns an incident that is over, so that the text gets its end: three evaluations."""
_GRAPH: Final = '{__name__=~"anomaly_(expected|flapping|lower|score|upper|value)",%s}'
_START: Final = 60.0
_SCORE: Final = 9.0
_EVIDENCE: Final = {"evidence": 2.0, "evidence_deviations": -4.1, "evidence_interval_seconds": 1_814_400.0}
_INCIDENT: Final = "1f2e3d4c5b"
_TOGETHER: Final = 40
_FIRST: Final = "service=db in latency"
_MOVED: Final = "host=b in disk rose from 1 to 9"
_READING: Final = {"value": 5.0, "expected": 1.0, "lower": 0.5, "upper": 1.5}


def anomaly(job: AlertedJob) -> Alert:
    """Return the alert on `anomaly_alert`, or on `anomaly_flag` if the job chooses it or does not publish the other."""
    config, wanted = job.config, job.config.alert
    metric = f"anomaly_{config.alerting_metric}"
    verdict = job.newest(metric)
    known = job.known(job.entity("a"))
    told = min(TOLD, wanted.keep_firing_for)
    expr = f"{verdict} == 1\nor {job.still_firing(job.alert_name, verdict, job.reachable)}"
    if told:
        expr += f"\nor {job.just_ended(job.alert_name, 'anomaly_incident_end_timestamp_seconds', told)}"
    fired = 2 + math.ceil(wanted.for_ / 60)
    over = fired + math.ceil(wanted.keep_firing_for / 60) + 3
    silent = over + 30
    end = 60.0 * (fired + 1)
    cases = [
        Case("fires", _series(job, metric, f"0 1x{over}", f"x{over}"), fired, fires=True),
        Case("stays silent", _series(job, metric, f"0x{over}", f"x{over}"), fired, fires=False),
        Case(
            "fires even if every second scrape fails",
            _series(job, metric, "0" + " 1 stale" * over, f"x{over}"),
            fired,
            fires=True,
        ),
        Case(
            "stays without new results",
            _series(job, metric, f"0 1x{over} stale", f"x{over} stale"),
            silent,
            fires=True,
            description=_text(job, silent, old=True),
        ),
        Case(
            "is over when it is over",
            _series(job, metric, f"0 1x{fired} 0x{2 * over}", f"x{3 * over}", end),
            fired + over,
            fires=False,
        ),
    ]
    if wanted.keep_firing_for >= 120:
        ended = _series(job, metric, f"0 1x{fired} 0x{2 * over}", f"x{3 * over}", end)
        text = _text(job, fired + 2, end)
        cases.append(Case("says when it was", ended, fired + 2, fires=True, description=text))
    return Alert(
        name=job.alert_name,
        expr=expr,
        labels=job.labels,
        summary=literal(f"Anomaly in {job.name}") + entity(known, job.labels),
        description=Text(description(job, DETAILED), _text(job, fired)),
        graph=graph_link(_GRAPH, known, job.labels),
        series=known,
        meaning=_meaning(job, metric),
        action="Open the graph: `anomaly_value` against `anomaly_lower` and `anomaly_upper`, and what else changed at "
        "that time. The text tells the worst reading of the incident; the newest may be normal again. While the "
        "exporter or its source does not answer, the last result stays: then see "
        f"`{names.STALE}` and `{names.DOWN}` first. Too many of these alerts: lower `budget`, or raise "
        f"`least_deviation`; a reload keeps what the job has learnt. A lasting level is accepted as normal after "
        f"{format_duration(config.max_hold)}.",
        cases=tuple(cases),
        for_=wanted.for_,
        keep_firing_for=wanted.keep_firing_for - told,
        annotations={**_page(job, known), **job.annotations},
        found={INCIDENT: Text(joint_incident(job), _INCIDENT)},
        chosen=dashboard_choice(known, job.labels),
    )


def _page(job: AlertedJob, known: Mapping[str, str]) -> dict[str, Text]:
    return {} if job.pages is None else {"page_url": page_link(job.pages, known, job.labels)}


def _series(job: AlertedJob, metric: str, verdict: str, steady: str, end: float | None = None) -> dict[str, str]:
    """Return the series of a case: those of the anomalous entity, and of a normal one.

    `verdict` holds the values of alert and flag, `steady` the number of repetitions of all others. `end` is when the
    incident ended, in seconds: its readings are there until four minutes later.
    """
    source, neighbour = job.entity("a"), job.entity("b")
    given = {series(metric, **source): verdict}
    if neighbour != source:
        given[series(metric, **neighbour)] = f"0{steady}"
    if metric != "anomaly_flag":
        given[series("anomaly_flag", **source)] = verdict
    shown = steady
    if end is not None:
        minute = round(end / 60)
        shown = f"x{minute + 4} stale"
        name = "anomaly_incident_end_timestamp_seconds"
        given[series(name, **source)] = f"_x{minute} {end:g}x4 stale"
    for name, number in (("start_timestamp_seconds", _START), ("worst_timestamp_seconds", _START), ("score", _SCORE)):
        given[series(f"anomaly_incident_{name}", **source)] = f"{number:g}{shown}"
    for name, number in _EVIDENCE.items():
        given[series(f"anomaly_incident_{name}", **source)] = f"{number:g}{shown}"
    given[series("anomaly_incident_moved_timestamp_seconds", **{INCIDENT: _INCIDENT}, **source)] = f"{_START:g}{shown}"
    together = series("anomaly_exporter_joint_incident_series", **{INCIDENT: _INCIDENT}, first_mover=_FIRST)
    given[together] = f"{_TOGETHER}{shown}"
    given[series("anomaly_exporter_joint_incident_companions", **{INCIDENT: _INCIDENT}, companions=_MOVED)] = (
        f"1{shown}"
    )
    for channel in job.channels:
        named = {"channel": channel} if len(job.channels) > 1 else {}
        for field, number in _READING.items():
            given[series(f"anomaly_incident_{field}", **named, **source)] = f"{number:g}{shown}"
    return given


def _text(job: AlertedJob, minute: int, end: float | None = None, *, old: bool = False) -> str:
    """Return what the description of the cases is in a minute."""
    several = len(job.channels) > 1
    now = 60.0 * minute
    readings = wording.BETWEEN.join(
        (f"{name}: " if several else "") + wording.reading(**_READING, unit=unit, unusual=True)
        for name, unit in job.config.units.items()
    )
    dated = wording.is_dated(_START, now if end is None else end)
    worst = wording.WORST.format(at=wording.moment(_START, dated), readings=readings, score=wording.number(_SCORE))
    at, size, every = _EVIDENCE.values()
    stream = wording.stream(names_of_streams(job.config.step)[round(at)], size, every)
    told = {"worst": worst, "lasting": wording.lasting(_START, end, now), "evidence": stream}
    if not old:
        told["together"] = ONE_OF.format(count=_TOGETHER, first=_FIRST)
        told["companions"] = wording.ALSO.format(companions=_MOVED)
    return f"{wording.ordered(**told)}{OLD if old else ''}."


def _meaning(job: AlertedJob, metric: str) -> str:
    config = job.config
    asked = "\n".join(f"    {line}" for expr in config.queries.values() for line in expr.splitlines())
    sent = f"{config.budget:g} per week for the whole job" if metric == "anomaly_alert" else "none, all are sent"
    return (
        f"The job queries every {format_duration(config.step)}:\n\n{asked}\n\n"
        f"* direction {config.direction}, least deviation {config.least_deviation:g}, detector {job.detector}\n"
        f"* alert budget: {sent}\n"
        f"* fires on `{metric}` after {format_duration(config.alert.for_)}, "
        f"stays for {format_duration(config.alert.keep_firing_for)} after it"
    )
