"""The alerts on missing data of a job: series that have vanished, results that are stale."""

import math
from typing import Final

from exporter.promql import format_duration, quote, selector
from rules.alerts import names
from rules.alerts.alert import Alert, Case, graph, labels, milliseconds, series
from rules.alerts.job_context import RECENT, AlertedJob
from rules.alerts.templates import Text, literal

_SUCCESS: Final = "anomaly_exporter_last_success_timestamp_seconds"
_WARM_UP: Final = "anomaly_exporter_warm_up_ratio"
_LOADED: Final = "anomaly_exporter_config_last_reload_success_timestamp_seconds"
_PATIENCE: Final = 900.0
"""Seconds that a first cycle may take, and that a warm-up may stand still."""


def vanished(job: AlertedJob, share: float) -> Alert:
    """Return the alert that fires when a `share` of the series has vanished while the job itself works."""
    ready = job.selector("anomaly_exporter_series")[:-1] + ',state=~"ready|warming"}'
    # A warm-up counts every series of the past, also those that ended long ago.
    # Of all replicas together: a pod that is replaced is no reason to begin again, nor to tell of it twice.
    present = f"sum by (query) ({ready}) unless on (query) {job.selector(_WARM_UP)} < 1"
    down = selector("up", job=job.alerting.health.scrape_job)
    fresh = (
        f"time() - max by (query) ({job.selector(_SUCCESS)}) <= {job.config.withdraw_after:g}"
        f" unless on () ({down} == 0)"
    )
    rest = literal(f" series are left, at least {share:.0%} fewer than the median of the last day.")
    known = {"query": job.name}
    here, clock = series("anomaly_exporter_series", **job.judged, state="ready"), series(_SUCCESS, **known)
    warm_up = series(_WARM_UP, **known)
    of_pod = {
        pod: (
            series("anomaly_exporter_series", **job.judged, state="ready", pod=pod),
            series(_SUCCESS, **known, pod=pod),
            series("up", job=job.alerting.health.scrape_job, pod=pod),
        )
        for pod in "ab"
    }
    (one, one_clock, _), (other, other_clock, other_up) = of_pod.values()
    late = 40 + math.ceil(job.config.withdraw_after / 60)
    return Alert(
        name=names.VANISHED,
        expr=(
            f"1 - ({present})\n  / (quantile_over_time(0.5, ({present})[1d:5m]) > 0) >= {share:g}\n  and ({fresh})\n"
            f"or {job.still_firing(names.VANISHED, f'({fresh})', fresh)}"
        ),
        labels=job.labels,
        summary=literal(f"Series of {job.name} have vanished"),
        description=Text("{{ range query " + quote(f"sum({ready})") + " }}{{ .Value }}{{ else }}Few{{ end }}", "0")
        + rest,
        graph=graph(job.selector("anomaly_exporter_series")),
        series=known,
        meaning="The query of the job returns far fewer series than the median of the last day, although the source "
        "answers. Missing series are not evaluated, so no other alert fires for them.",
        detail=f"when {share:.0%} have vanished",
        action="Are the targets still scraped, does the metric still have its name and labels? A number that changes "
        "by design, as with autoscaling: set `alert.vanished` of the job to a larger share, or to null.",
        cases=(
            Case("fires", {here: "9x15 0x15", clock: "0+60x30"}, 23, fires=True),
            Case("stays silent", {here: "9x30", clock: "0+60x30"}, 23, fires=False),
            Case("stays silent for a job that never had series", {here: "0x30", clock: "0+60x30"}, 23, fires=False),
            Case(
                "stays silent when a warm-up has counted series of the past",
                {here: "99x15 9x15", clock: "_x15 0+60x15", warm_up: "0+0.06x15 1x15"},
                28,
                fires=False,
            ),
            Case(
                "stays when the pod of the exporter is replaced",
                {one: "9x15 0x9 stale", one_clock: "0+60x24 stale", other: "_x27 0x15", other_clock: "_x27 1620+60x15"},
                38,
                fires=True,
            ),
            Case(
                "stays silent when a replica is down",
                {one: "9x40", one_clock: "0+60x40", other: "9x15 stale", other_up: "1x15 0x25"},
                30,
                fires=False,
            ),
            Case(
                "stays without new results",
                {here: "9x15 0x9 stale", clock: "0+60x24 stale"},
                60,
                fires=True,
                description="Few" + rest.example,
            ),
            Case(
                "stays while the job fails",
                {here: f"9x15 0x{late}", clock: f"0+60x24 1440x{late}"},
                late + 10,
                fires=True,
            ),
            Case(
                "stays silent while the job fails", {here: f"9x15 0x{late}", clock: f"0x{late + 15}"}, late, fires=False
            ),
        ),
        for_=300.0,
        annotations=job.annotations,
    )


def stale(job: AlertedJob) -> Alert:
    """Return the alert on a job whose scores are withdrawn; it is routed like the alerts on the exporter."""
    stamp, limit = job.selector(_SUCCESS), job.config.withdraw_after
    known = {"query": job.name}
    clock, warm_up, loaded = series(_SUCCESS, **known), series(_WARM_UP, **known), series(_LOADED)
    failed = series("anomaly_exporter_cycles_total", **known, outcome="error")
    ratio, wait = job.selector(_WARM_UP), milliseconds(_PATIENCE)
    failing = selector("anomaly_exporter_cycles_total", query=job.name, outcome="error")
    none = f"absent_over_time({stamp}[{milliseconds(max(limit, RECENT))}])"
    late = math.ceil(limit / 60) + 10
    begun = math.ceil(_PATIENCE / 60) + 3
    every_second = " ".join("stale" if minute % 2 else f"{60 * minute}" for minute in range(late + 10))
    return Alert(
        name=names.STALE,
        expr=(
            f"(\n  time() - min by (query) (last_over_time({stamp}[5m])) > {limit:g}\n"
            f"  or {none} unless on () (time() - max({_LOADED}) < {_PATIENCE:g} unless on () {failing} > 0)\n)\n"
            f"unless on (query) ({ratio} < 1 and changes({ratio}[{wait}]) > 0)"
        ),
        labels={**job.config.alert.labels, **labels(job.alerting.health, job.alerting)},
        summary=literal(f"No results from {job.name}"),
        description=literal(
            f"No cycle has succeeded for {format_duration(limit)}: the scores are withdrawn. Alerts that were "
            "firing stay until there are results again."
        ),
        graph=graph(job.selector("anomaly_exporter_cycles_total")),
        series=known,
        meaning="No cycle of the job has succeeded for its `max_age`, or the exporter does not know the job. While it "
        f"replays its history, and for {format_duration(_PATIENCE)} after a start without errors, this is no fault.",
        detail=f"after {format_duration(limit)}",
        action="The exporter's log has a line `cycle_failed` with the reason; `anomaly_exporter_query_errors_total` "
        "counts them. Does the source answer, is its token valid, and has the exporter loaded the configuration that "
        "these rules were generated from?",
        cases=(
            Case("fires", {clock: f"0x{late}"}, late, fires=True),
            Case("fires for a job without any results", {}, late, fires=True),
            Case("stays silent", {clock: f"0+60x{late}"}, late, fires=False),
            Case("fires for a job that fails from the beginning", {loaded: "0x99", failed: "1+1x99"}, 9, fires=True),
            Case("fires when the first cycle never ends", {loaded: "0x99"}, begun, fires=True),
            Case("stays silent during the first cycle", {loaded: "0x99"}, begun - 5, fires=False),
            Case("fires when the warm-up stands still", {loaded: "0x99", warm_up: "0.3x99"}, begun, fires=True),
            Case(
                "stays silent during a warm-up", {loaded: "0x99", warm_up: "0+0.01x99", failed: "9x99"}, 60, fires=False
            ),
            Case("stays silent even if every second scrape fails", {clock: every_second}, late, fires=False),
        ),
        for_=120.0,
    )
