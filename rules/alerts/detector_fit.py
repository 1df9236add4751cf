"""The alerts on a detector that no longer fits the data: an old model, bands that miss, scores that drift."""

from typing import Final

from exporter.promql import format_duration
from rules.alerts import names
from rules.alerts.alert import Alert, Case, graph, series
from rules.alerts.job_health import JUDGED, OF_JOB
from rules.alerts.templates import Text, literal

_DAY_OF_POINTS: Final = 96
"""Points a quarter of an hour apart, so many that they are more than the hours after a start."""


def fit_alerts(least_coverage: float, common: dict[str, str]) -> tuple[Alert, ...]:
    """Return the alerts on bands that contain too few samples, and on drift."""
    return _coverage(least_coverage, common), _drift(common)


def old_model(oldest: float, common: dict[str, str]) -> Alert:
    """Return the alert on a model that was trained too long ago, in seconds."""
    trained = series("anomaly_exporter_model_trained_timestamp_seconds", **JUDGED)
    return Alert(
        name=names.OLD_MODEL,
        expr=f"time() - min by (query, detector) (anomaly_exporter_model_trained_timestamp_seconds) > {oldest:g}",
        labels=common,
        summary=literal("The model") + OF_JOB + " is old",
        description=literal("It was trained ")
        + Text("{{ humanizeDuration $value }}", _humanized(oldest + 60))
        + " ago.",
        graph=graph("time() - anomaly_exporter_model_trained_timestamp_seconds"),
        series=JUDGED,
        meaning=f"The active model is older than {format_duration(oldest)} (`alerting.health.model_max_age`).",
        action="Does the retraining run, and are its models rejected? See `anomaly_exporter_retrains_total`.",
        cases=(
            Case("fires", {trained: f"{-oldest:g}x60"}, 1, fires=True),
            Case("stays silent", {trained: "0x60"}, 1, fires=False),
        ),
    )


def _coverage(least: float, common: dict[str, str]) -> Alert:
    covered = series("anomaly_exporter_band_coverage_ratio", **JUDGED)
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
        summary=literal("The bands") + OF_JOB + " do not contain normal samples",
        description=Text("{{ humanizePercentage $value }}", f"{100 * low:.4g}%")
        + literal(f" of the last week's samples lay within the bands, less than {least:.4g}."),
        graph=graph("anomaly_exporter_band_coverage_ratio"),
        series=JUDGED,
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
    known = {**JUDGED, "method": "m"}
    events = series(metric, **known)
    return Alert(
        name=names.DRIFT,
        expr=f"{by} (increase({metric}[1h])) > 0\nor {by} ({metric} unless last_over_time({metric}[1d] offset 1h)) > 0",
        labels=common,
        summary=literal("The data") + OF_JOB + " drift",
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


def _humanized(seconds: float) -> str:
    """Format seconds like humanizeDuration of Prometheus."""
    whole = int(seconds)
    days, hours, minutes, rest = whole // 86400, whole // 3600 % 24, whole // 60 % 60, whole % 60
    if days:
        return f"{days}d {hours}h {minutes}m {rest}s"
    return f"{hours}h {minutes}m {rest}s" if hours else f"{minutes}m {rest}s" if minutes else f"{rest}s"
