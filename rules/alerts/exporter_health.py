"""The alerts on the exporter itself: its failures must not look like normal operation."""

from typing import Final

from detectors.units import DAY
from exporter.config.sections.alerting import AlertingConfig
from exporter.config.sections.train import TrainConfig
from exporter.promql import format_duration, selector
from rules.alerts import names
from rules.alerts.alert import Alert, Case, graph, labels, series
from rules.alerts.model_health import model_alerts
from rules.alerts.templates import Text, label, literal

_JOB: Final = {"query": "j"}
_JUDGED: Final = {"query": "j", "detector": "d"}
_DAY_OF_POINTS: Final = 96
"""Points a quarter of an hour apart, so many that they are more than the hours after a start."""
_OF_JOB: Final = literal(" of ") + label("query", _JOB)


def self_alerts(alerting: AlertingConfig, train: TrainConfig) -> tuple[Alert, ...]:
    """Return the alerts that do not depend on a job."""
    common = labels(alerting.health, alerting)
    return (
        _down(alerting.health.scrape_job, common),
        _failing(common),
        _limited(common),
        _empty(common),
        _old_model(alerting.health.model_max_age, common),
        *model_alerts(train, common),
        _coverage(alerting.health.least_coverage, common),
        _drift(common),
        _reload(common),
        _watchdog(alerting),
    )


def _down(scrape_job: str, common: dict[str, str]) -> Alert:
    up = selector("up", job=scrape_job)
    page = series("up", job=scrape_job, instance="a")
    known = {"job": scrape_job, "instance": "a"}
    return Alert(
        name=names.DOWN,
        expr=f"{up} == 0 or absent({up})",
        labels=common,
        summary=literal("The anomaly exporter is down") + Text("{{ with $labels.instance }}: {{ . }}{{ end }}", ": a"),
        description=literal(
            f"Prometheus cannot scrape the job {scrape_job}, or has no such target. No new samples are evaluated; "
            "alerts that were firing stay."
        ),
        graph=graph(up),
        series=known,
        meaning="Prometheus cannot scrape the exporter, or does not scrape it at all.",
        action="Does the process run, and how does its log end? Does Prometheus have the target, and is the "
        "name of its scrape job that in `alerting.health.scrape_job`? Out of memory: fewer series, or `--shard`.",
        cases=(
            Case("fires", {page: "1 0x20"}, 5, fires=True),
            Case("stays silent", {page: "1x20"}, 5, fires=False),
            Case("stays silent while every second scrape fails", {page: "1 0 " * 10}, 5, fires=False),
        ),
        for_=120.0,
    )


def _failing(common: dict[str, str]) -> Alert:
    def count(outcomes: str) -> str:
        return f'sum by (query) (increase(anomaly_exporter_cycles_total{{outcome=~"{outcomes}"}}[30m]))'

    bad = count("error|skipped")
    errors, successes = (
        series("anomaly_exporter_cycles_total", **_JOB, outcome=outcome) for outcome in ("error", "success")
    )
    return Alert(
        name=names.FAILING,
        expr=f"{bad} > 0\nand {bad} > ({count('success')} or 0 * {bad})",
        labels=common,
        summary=literal("Most cycles") + _OF_JOB + " fail",
        description=literal("More cycles of the last 30 minutes failed or were skipped than succeeded."),
        graph=graph("sum by (query, outcome) (rate(anomaly_exporter_cycles_total[5m]))"),
        series=_JOB,
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
    dropped = series("anomaly_exporter_series_dropped_total", **_JOB, reason="limit")
    return Alert(
        name=names.LIMITED,
        expr="\nor ".join(counted),
        labels=common,
        summary=literal("Limits exclude series") + _OF_JOB,
        description=literal("A query returned more than the limit allows; series beyond the limit are not evaluated."),
        graph=graph('sum by (query, reason) (rate(anomaly_exporter_series_dropped_total{reason="limit"}[5m]))'),
        series=_JOB,
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
    state = series("anomaly_exporter_series", **_JUDGED, state="empty")
    minutes = round(DAY / 60) + 30
    return Alert(
        name=names.EMPTY,
        expr=f"max by (query) (last_over_time({empty}[10m])) > 0",
        labels=common,
        summary=literal("The queries") + _OF_JOB + " never gave a series",
        description=literal(
            "The source answers them with nothing, now and for as far back as the job has looked, so nothing of it is "
            "evaluated and it cannot alert."
        ),
        graph=graph("max by (query) (" + empty + ")"),
        series=_JOB,
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


def _old_model(oldest: float, common: dict[str, str]) -> Alert:
    trained = series("anomaly_exporter_model_trained_timestamp_seconds", **_JUDGED)
    return Alert(
        name=names.OLD_MODEL,
        expr=f"time() - min by (query, detector) (anomaly_exporter_model_trained_timestamp_seconds) > {oldest:g}",
        labels=common,
        summary=literal("The model") + _OF_JOB + " is old",
        description=literal("It was trained ")
        + Text("{{ humanizeDuration $value }}", _humanized(oldest + 60))
        + " ago.",
        graph=graph("time() - anomaly_exporter_model_trained_timestamp_seconds"),
        series=_JUDGED,
        meaning=f"The active model is older than {format_duration(oldest)} (`alerting.health.model_max_age`).",
        action="Does the retraining run, and are its models rejected? See `anomaly_exporter_retrains_total`.",
        cases=(
            Case("fires", {trained: f"{-oldest:g}x60"}, 1, fires=True),
            Case("stays silent", {trained: "0x60"}, 1, fires=False),
        ),
    )


def _coverage(least: float, common: dict[str, str]) -> Alert:
    covered = series("anomaly_exporter_band_coverage_ratio", **_JUDGED)
    low = least / 2
    # NaN says nothing, and would make the whole week say nothing.
    known = "(anomaly_exporter_band_coverage_ratio >= 0)[7d:15m]"
    return Alert(
        name=names.COVERAGE,
        expr=(
            f"min by (query, detector) (avg_over_time({known})) < {least:g}\n"
            f"and max by (query, detector) (count_over_time({known})) >= {_DAY_OF_POINTS}"
        ),
        labels=common,
        summary=literal("The bands") + _OF_JOB + " do not contain normal samples",
        description=Text("{{ humanizePercentage $value }}", f"{100 * low:.4g}%")
        + literal(f" of the last week's samples lay within the bands, less than {least:.4g}."),
        graph=graph("anomaly_exporter_band_coverage_ratio"),
        series=_JUDGED,
        meaning="Normal samples are nearly always within the band. When they are not, the detector no longer fits the "
        "data and its scores are unreliable. It takes a day of samples to tell.",
        action="Did the data change permanently (`AnomalyDrift`)? Then retrain, or give the detector more `history`. "
        "Does another detector do better in `anomaly-exporter backtest`?",
        cases=(
            Case("fires, whatever is unknown", {covered: "NaN " * 9 + f"{low:g}x1550"}, 1509, fires=True),
            Case("stays silent", {covered: "1x70"}, 61, fires=False),
            Case("stays silent in the first hours", {covered: f"{low:g}x300"}, 290, fires=False),
            Case("stays silent without bands", {covered: "NaN " * 90}, 80, fires=False),
        ),
        for_=3600.0,
    )


def _drift(common: dict[str, str]) -> Alert:
    metric, by = "anomaly_exporter_drift_events_total", "sum by (query, detector, method)"
    known = {**_JUDGED, "method": "m"}
    events = series(metric, **known)
    return Alert(
        name=names.DRIFT,
        expr=f"{by} (increase({metric}[1h])) > 0\nor {by} ({metric} unless last_over_time({metric}[1d] offset 1h)) > 0",
        labels=common,
        summary=literal("The data") + _OF_JOB + " drift",
        description=Text("{{ with $labels.method }}{{ . }} found{{ else }}Found{{ end }}", "m found")
        + literal(" a lasting change in the scores within the last hour."),
        graph=graph(metric),
        series=known,
        meaning="The distribution of the scores of the job has changed, so the data has changed permanently.",
        action="If the change is intended, retrain. If nobody knows of a change, it may be the incident.",
        cases=(
            Case("fires", {events: "0x5 1x60"}, 10, fires=True),
            Case("fires at a first event", {events: "_x5 1x60"}, 10, fires=True),
            Case("stays silent", {events: "0x60"}, 10, fires=False),
            Case("stays silent long after", {events: "1x100"}, 70, fires=False),
            Case("stays silent an hour after a gap", {events: "1x30 stale _x20 1x90"}, 105, fires=False),
        ),
    )


def _reload(common: dict[str, str]) -> Alert:
    loaded = series("anomaly_exporter_config_last_reload_successful", instance="a")
    return Alert(
        name=names.RELOAD,
        expr="anomaly_exporter_config_last_reload_successful == 0",
        labels=common,
        summary=literal("The anomaly exporter rejects its configuration"),
        description=literal("The last valid configuration stays active; a restart would fail."),
        graph=graph("anomaly_exporter_config_last_reload_successful"),
        series={"instance": "a"},
        meaning="The configuration was changed, and the exporter could not load it.",
        action="`anomaly-exporter check-config FILE` shows every mistake with its line.",
        cases=(
            Case("fires", {loaded: "0x60"}, 10, fires=True),
            Case("stays silent", {loaded: "1x60"}, 10, fires=False),
        ),
        for_=300.0,
    )


def _watchdog(alerting: AlertingConfig) -> Alert:
    up = selector("up", job=alerting.health.scrape_job)
    page = series("up", job=alerting.health.scrape_job, instance="a")
    return Alert(
        name=names.WATCHDOG,
        expr=f"count(max_over_time({up}[5m]) == 1) > 0",
        labels={"severity": "none", **({"receivers": alerting.watchdog} if alerting.watchdog else {})},
        summary=literal("Alerts are delivered"),
        description=literal("Always firing. If it stops arriving, other alerts would not arrive either."),
        graph=graph(up),
        series={},
        meaning="A dead man's switch: it fires while the exporter, Prometheus and Alertmanager all work.",
        action="None while it fires. Send it to a service that notifies you when it is missing (`alerting.watchdog`); "
        "otherwise nobody receives it.",
        cases=(
            Case("fires", {page: "1x20"}, 1, fires=True),
            Case("fires while every second scrape fails", {page: "1 0 " * 10}, 7, fires=True),
            Case("stays silent", {page: "0x20"}, 10, fires=False),
        ),
    )


def _humanized(seconds: float) -> str:
    """Format seconds like humanizeDuration of Prometheus."""
    whole = int(seconds)
    days, hours, minutes, rest = whole // 86400, whole // 3600 % 24, whole // 60 % 60, whole % 60
    if days:
        return f"{days}d {hours}h {minutes}m {rest}s"
    return f"{hours}h {minutes}m {rest}s" if hours else f"{minutes}m {rest}s" if minutes else f"{rest}s"
