"""The alert on the anomalies of a job: observed and expected values, start, channels."""

import math
from typing import Final

from exporter.promql import format_duration, quote
from rules.alerts import names
from rules.alerts.alert import Alert, Case, series
from rules.alerts.job_context import AlertedJob
from rules.alerts.templates import Text, entity, found, graph_link, joined, literal, picked, selector_of

DETAILED: Final = 100
"""Most open incidents of a job for which alerts show values: each costs three queries per evaluation."""
_READINGS: Final = '{__name__=~"anomaly_(expected|flapping|lower|score|upper|value)",%s}'
_NUMBERS: Final = {"value": 5.0, "expected": 1.0, "lower": 0.5, "upper": 1.5}
_WORDS: Final = {"value": "observed", "expected": "expected", "lower": "normal from", "upper": "to"}
_SINCE: Final = "max_over_time(timestamp(anomaly_flag{%s} == 0)[6h:1m])"
"""Last time without an incident within six hours, which costs 360 steps per alert."""
_LOOKED_BACK: Final = 6 * 60


def anomaly(job: AlertedJob) -> Alert:
    """Return the alert on `anomaly_alert`, or on `anomaly_flag` if the job chooses it or does not publish the other."""
    config, wanted = job.config, job.config.alert
    metric = "anomaly_alert" if wanted.metric == "alert" and "alert" in config.publish else "anomaly_flag"
    verdict = job.newest(metric)
    known = job.known(job.entity("a"))
    fired = 2 + math.ceil(wanted.for_ / 60)
    over = fired + math.ceil(wanted.keep_firing_for / 60) + 3
    silent = over + 30
    return Alert(
        name=job.alert_name,
        expr=f"{verdict} == 1\nor {job.held(job.alert_name, verdict, job.reachable)}",
        labels=job.labels,
        summary=literal(f"Anomaly in {job.name}") + entity(known, job.labels),
        description=_description(job, fired, reachable=True),
        graph=graph_link(_READINGS, known, job.labels),
        series=known,
        meaning=_meaning(job, metric),
        action="Open the graph: `anomaly_value` against `anomaly_lower` and `anomaly_upper`, and what else changed at "
        "that time. While the exporter or its source does not answer, the last result stays: then see "
        f"`{names.STALE}` and `{names.DOWN}` first. Too many of these alerts: lower `budget`, or raise "
        f"`least_deviation`; a reload keeps what the job has learnt. A lasting level is accepted as normal after "
        f"{format_duration(config.max_hold)}.",
        cases=(
            Case("fires", _readings(job, metric, f"0 1x{over}", f"x{over}"), fired, fires=True),
            Case("stays silent", _readings(job, metric, f"0x{over}", f"x{over}"), fired, fires=False),
            Case(
                "fires even if every second scrape fails",
                _readings(job, metric, "0" + " 1 stale" * over, f"x{over}"),
                fired,
                fires=True,
            ),
            Case(
                "stays without new results",
                _readings(job, metric, f"0 1x{over} stale", f"x{over} stale"),
                silent,
                fires=True,
                description=_description(job, silent, reachable=False).example,
            ),
            Case(
                "is over when it is over",
                _readings(job, metric, f"0 1x{fired} 0x{2 * over}", f"x{3 * over}"),
                fired + over,
                fires=False,
            ),
        ),
        for_=wanted.for_,
        keep_firing_for=wanted.keep_firing_for,
        annotations=job.annotations,
    )


def _readings(job: AlertedJob, metric: str, verdict: str, steady: str) -> dict[str, str]:
    """Return the series of a case: those of the anomalous entity, and of a normal one.

    `verdict` holds the values of alert and flag, `steady` the number of repetitions of all others.
    """
    source, neighbour = job.entity("a"), job.entity("b")
    given = {series(metric, **source): verdict}
    if neighbour != source:
        given[series(metric, **neighbour)] = f"0{steady}"
    if metric != "anomaly_flag":
        given[series("anomaly_flag", **source)] = verdict
    given[series("anomaly_score", **source)] = f"9{steady}"
    for channel in job.channels:
        named = {"channel": channel} if len(job.channels) > 1 else {}
        for field, number in _NUMBERS.items():
            if field in job.config.publish:
                given[series(f"anomaly_{field}", **named, **source)] = f"{number:g}{steady}"
    return given


def _description(job: AlertedJob, at: int, *, reachable: bool) -> Text:
    """Return the text; its example is for minute `at`."""
    published = job.config.publish
    several = len(job.channels) > 1
    parts = []
    for channel in job.channels:
        if several:
            parts.append(Text("{{ if $r }}" + f"{channel}: " + "{{ end }}", f"{channel}: " if reachable else ""))
        for field, word in _WORDS.items():
            if field in published:
                after = " " if field == "lower" else ", "
                number = _NUMBERS[field] if reachable else None
                parts.append(picked(word, f"anomaly_{field}", channel if several else None, number, after))
    if several and "contribution" in published:
        contribution = "{{ .Labels.channel }} has {{ .Value | humanizePercentage }} of the deviation, "
        parts.append(found("sort_desc(anomaly_contribution{%s})", contribution, ""))
    if "flapping" in published:
        flapping = '{{ if eq .Labels.__name__ "anomaly_flapping" }}comes and goes, {{ end }}'
        parts.append(Text("{{ range $r }}" + flapping + "{{ end }}", ""))
    since = "since 1970-01-01 00:00:00 +0000 UTC, " if at < _LOOKED_BACK else ""
    parts.append(found(_SINCE, "since {{ .Value | humanizeTimestamp }}, ", since))
    shown = "score {{ .Value | printf `%.3g` }} (above 1 is anomalous)"
    score = '{{ if eq .Labels.__name__ "anomaly_score" }}' + shown + "{{ end }}"
    old = "no new result: this is the last one"
    last = Text("{{ range $r }}" + score + "{{ else }}" + old + "{{ end }}.", "")
    whole = joined([*parts, last])
    ended = "score 9 (above 1 is anomalous)." if reachable else f"{old}."
    return Text(_unless_many(job, whole.template), whole.example + ended)


def _unless_many(job: AlertedJob, text: str) -> str:
    """Return a template that queries no values when very many alerts fire at once."""
    flagged = f"sum({job.selector('anomaly_exporter_flagged_ratio')})"
    many = f"{flagged} * sum({job.selector('anomaly_exporter_series')}) > {DETAILED}"
    crowd = f"One of more than {DETAILED} series of this job with an incident; see the graph or the dashboard."
    queried = "{{ $r := query (printf " + quote(_READINGS) + " $s) }}"
    return (
        "{{ if query "
        + quote(many)
        + " }}"
        + crowd
        + "{{ else }}"
        + selector_of(job.labels)
        + queried
        + text
        + "{{ end }}"
    )


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
