"""The alerts on missing data of a job: series that have vanished, results that are stale."""

import math
from collections.abc import Collection
from typing import Final

from exporter.promql import format_duration, selector
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
    """Return the alert on series that are down or have stopped, when they are more than a `share` of the job's.

    It is one alert for each reason, however many series there are. What was replaced, or ends as it usually does, is
    none: the exporter tells them apart.
    """
    gone = f'{job.selector("anomaly_series_vanished")[:-1]},reason=~"down|stopped"}}'
    # Replicas judge different series; a page that a scrape missed still counts.
    count = f"count by (query, reason) (last_over_time({gone}[2m]))"
    ready = job.selector("anomaly_exporter_series")[:-1] + ',state=~"ready|warming"}'
    enough = ""
    if share:
        every = f"sum by (query) ({ready}) + sum by (query) ({count})"
        enough = f"\n  and on (query) sum by (query) ({count}) >= {share:g} * ({every})"
    known = {"query": job.name, "reason": "stopped"}
    one = {**job.entity("a"), "reason": "stopped"}
    here = series("anomaly_series_vanished", **one)
    silent = {
        series("anomaly_series_vanished", **one | {"reason": reason}): "0 1x30"
        for reason in ("replaced", "finished", "partial")
    }
    members = {series("anomaly_exporter_series", **job.judged, state="ready"): "0x30"}
    clock = {series(_SUCCESS, query=job.name): "0+60x40"}
    added = {"query", "detector", "reason"}
    shown = "".join(f" {label}={one[label]}" for label in sorted(one) if label not in added)
    return Alert(
        name=names.VANISHED,
        expr=f"{count}{enough}\nor {job.still_firing(names.VANISHED, count, _reported(job))}",
        labels=job.labels,
        summary=literal(f"Series of {job.name} have vanished: ") + Text("{{ $labels.reason }}", "stopped"),
        description=_told("1", shown, added),
        graph=graph(job.selector("anomaly_series_vanished")),
        series=known,
        meaning="Series that the job evaluated have ended. `down`: `up` of their target is 0 or gone. `stopped`: their "
        "target answers, and the series is not there. A series that a sibling has replaced, or that ends as it usually "
        "does, is no alert.",
        detail=f"when {share:.0%} have vanished" if share else "from one series on",
        action="`down`: does the machine answer, and does the process run? `stopped`: which release or setting has "
        "taken the metric away? It was replaced after all: name the labels of the owner in `identity` of the job. It "
        "is forgotten after `max_hold`. Only many at once matter: set `alert.vanished` to a share, or to null.",
        cases=(
            Case("fires", {here: "_ 1x30", **members, **clock, **({} if share else silent)}, 9, fires=True),
            Case("stays silent for what was replaced or has finished", {**silent, **members, **clock}, 9, fires=False),
            Case("stays silent when it is back at once", {here: "_ 1 stale", **members, **clock}, 4, fires=False),
            Case("is over when it is over", {here: "_ 1x9 stale", **members, **clock}, 15, fires=False),
            Case(
                "stays without new results",
                {here: "_ 1x9 stale", **members, series(_SUCCESS, query=job.name): "0+60x9 stale"},
                30,
                fires=True,
                description=_told("Some", "", added).example,
            ),
        ),
        for_=_FOR,
        annotations=job.annotations,
    )


def _told(count: str, shown: str, added: Collection[str]) -> Text:
    """Return how many series there are, why they have ended, and which they are; in the example those `shown`."""
    asked = "(printf `count(anomaly_series_vanished{query=%q,reason=%q})` $labels.query $labels.reason)"
    return (
        Text("{{ range query " + asked + " }}{{ .Value }}{{ else }}Some{{ end }}", count)
        + literal(" series: ")
        + Text("{{ if eq $labels.reason `down` }}" + _DOWN + "{{ else }}" + _STOPPED + "{{ end }}", _STOPPED)
        + literal(". They are not evaluated, so that no other alert can fire for them:")
        + Text(_listed(added), shown)
    )


def _reported(job: AlertedJob) -> str:
    """Return an expression that is there while the job is evaluated."""
    return f"time() - max by (query) ({job.selector(_SUCCESS)}) <= {job.config.withdraw_after:g}"


def _listed(added: Collection[str]) -> str:
    """Return a template of the labels of five of the series, without those that the exporter adds."""
    asked = "(printf `topk(5, anomaly_series_vanished{query=%q,reason=%q})` $labels.query $labels.reason)"
    named = " ".join(f'(ne $k "{each}")' for each in sorted({"__name__", *added}))
    each = "{{ range $k, $v := .Labels }}{{ if and " + named + " }} {{ $k }}={{ $v }}{{ end }}{{ end }}"
    return "{{ $between := `` }}{{ range query " + asked + " }}{{ $between }}{{ $between = `;` }}" + each + "{{ end }}"


_FOR: Final = 120.0
"""Seconds that a series is missed before it is an alert: a process that is started again is back by then."""
_DOWN: Final = "their target is down, or no target any more"
_STOPPED: Final = "they have stopped, while their target is up"


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
