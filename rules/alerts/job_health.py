"""The alerts on a job of the exporter that evaluates nothing, or not all that it should."""

from typing import Final

from detectors.units import DAY
from exporter.promql import format_duration, selector
from rules.alerts import names
from rules.alerts.alert import Alert, Case, graph, series
from rules.alerts.templates import label, literal

JOB: Final = {"query": "j"}
JUDGED: Final = {"query": "j", "detector": "d"}
OF_JOB: Final = literal(" of ") + label("query", JOB)


def job_alerts(common: dict[str, str]) -> tuple[Alert, ...]:
    """Return the alerts on cycles that fail, limits that leave series out, and queries without a series."""
    return _failing(common), _limited(common), _empty(common)


def _failing(common: dict[str, str]) -> Alert:
    def count(outcomes: str) -> str:
        return f'sum by (query) (increase(anomaly_exporter_cycles_total{{outcome=~"{outcomes}"}}[30m]))'

    bad = count("error|skipped")
    errors, successes = (
        series("anomaly_exporter_cycles_total", **JOB, outcome=outcome) for outcome in ("error", "success")
    )
    return Alert(
        name=names.FAILING,
        expr=f"{bad} > 0\nand {bad} > ({count('success')} or 0 * {bad})",
        labels=common,
        summary=literal("Most cycles") + OF_JOB + " fail",
        description=literal("More cycles of the last 30 minutes failed or were skipped than succeeded."),
        graph=graph("sum by (query, outcome) (rate(anomaly_exporter_cycles_total[5m]))"),
        series=JOB,
        meaning="More cycles of a job fail, or are skipped because the previous one is still running, than succeed.",
        action="`error`: the log's line `cycle_failed` names the reason. `skipped`: a cycle takes longer than `step`; "
        "`anomaly_exporter_stage_duration_seconds` says where the time goes.",
        cases=(
            Case("fires", {errors: "0+1x60", successes: "0x60"}, 20, fires=True),
            Case("fires when none ever succeeded", {errors: "0+1x60"}, 20, fires=True),
            Case("stays silent", {errors: "0+1x60", successes: "0+2x60"}, 20, fires=False),
        ),
        for_=300.0,
    )


def _limited(common: dict[str, str]) -> Alert:
    families = {
        "anomaly_exporter_series_dropped_total": "limit",
        "anomaly_exporter_samples_dropped_total": "limit",
        "anomaly_exporter_query_errors_total": "limit_exceeded",
    }
    counted = [f"sum by (query) (increase({selector(name, reason=why)}[1h])) > 0" for name, why in families.items()]
    dropped = series("anomaly_exporter_series_dropped_total", **JOB, reason="limit")
    return Alert(
        name=names.LIMITED,
        expr="\nor ".join(counted),
        labels=common,
        summary=literal("Limits exclude series") + OF_JOB,
        description=literal("A query returned more than the limit allows; series beyond the limit are not evaluated."),
        graph=graph('sum by (query, reason) (rate(anomaly_exporter_series_dropped_total{reason="limit"}[5m]))'),
        series=JOB,
        meaning="The answer to a query was larger than a limit of the exporter or of the source.",
        action="Narrow the query, aggregate it, or raise `limits.series`, `limits.samples` or the job's `max_series`. "
        "`limit_exceeded`: the source itself rejected the query; see its own limits.",
        cases=(
            Case("fires", {dropped: "0x5 5+5x60"}, 15, fires=True),
            Case("stays silent", {dropped: "5x60"}, 15, fires=False),
        ),
    )


def _empty(common: dict[str, str]) -> Alert:
    empty = selector("anomaly_exporter_series", state="empty")
    state = series("anomaly_exporter_series", **JUDGED, state="empty")
    minutes = round(DAY / 60) + 30
    return Alert(
        name=names.EMPTY,
        expr=f"max by (query) (last_over_time({empty}[10m])) > 0",
        labels=common,
        summary=literal("The queries") + OF_JOB + " never gave a series",
        description=literal(
            "The source answers them with nothing, now and for as far back as the job has looked, so nothing of it is "
            "evaluated and it cannot alert."
        ),
        graph=graph("max by (query) (" + empty + ")"),
        series=JOB,
        meaning="Every query of the job is answered, and no answer ever held a series: a metric that is not scraped, "
        "or a name or label that is not right.",
        detail=f"after {format_duration(DAY)}",
        action="Try the expression of the job in Prometheus, and look for the metric there. A job for something that "
        "you do not run: remove it.",
        cases=(
            Case("fires, also after lost scrapes", {state: f"1x600 _x8 1x{minutes - 609}"}, minutes, fires=True),
            Case("stays silent on the first day", {state: "1x300"}, 300, fires=False),
            Case("stays silent once there was a series", {state: "1x60 0x120"}, 180, fires=False),
        ),
        for_=DAY,
    )
