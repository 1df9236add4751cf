"""The alerts on jobs that teams declare: the same rules for all of them, so that a new job needs no new rule.

What differs from job to job is in `anomaly_exporter_discovered_job_info`: severity and receivers. The namespace is in
the name of the job. A rule that fails for one series fails for all, so labels that are set here are first taken from
every series, whatever a team has written into them.
"""

from typing import Final

from exporter.config.sections.alerting import AlertingConfig
from exporter.config.sections.discover import BETWEEN, DiscoverConfig
from exporter.promql import selector
from rules.alerts import names
from rules.alerts.alert import Alert, Case, graph, labels, series
from rules.alerts.templates import Text, entity, label, literal, page_link

_DECLARED: Final = f'query=~"[a-z0-9-]+{BETWEEN}.+"'
_INFO: Final = "anomaly_exporter_discovered_job_info"
_REFUSED: Final = "anomaly_exporter_discovery_refused"
_UP: Final = "anomaly_exporter_discovery_up"
_ROUTING: Final = ("namespace", "receivers", "severity")
"""Labels that say whose alert it is."""
_SET: Final = ("alertgroup", "alertname", "alertstate", *_ROUTING)
_THEIRS: Final = "exported_namespace"
"""The namespace of a series that may be another one than that of its job, as Prometheus calls such a label."""
_QUERY: Final = "shop:api"
_TEAM: Final = {"query": _QUERY, "namespace": "shop", "severity": "ticket", "receivers": "chat"}


def declared_alerts(discover: DiscoverConfig, alerting: AlertingConfig, pages: str | None) -> tuple[Alert, ...]:
    """Return the alerts on declared jobs, for their teams, and on what is declared, for whoever runs the exporter."""
    common = labels(alerting.health, alerting)
    return _anomaly(discover, alerting, pages), _vanished(), _refused(common), _lost(common)


def _routed(expr: str) -> str:
    """Return the series of an expression with the labels by which their alerts are routed."""
    info = f"topk by (query) (1, max by (query, severity, receivers) (last_over_time({_INFO}[5m])))"
    joined = f"{expr}\n  * on (query) group_left (severity, receivers) {info}"
    return f'label_replace(\n  {joined},\n  "namespace", "$1", "query", "([^{BETWEEN}]+){BETWEEN}.*"\n)'


def _of_series(expr: str, discover: DiscoverConfig) -> str:
    """Return an expression without the labels that the rule sets, each series still by itself."""
    if discover.enforce != "namespace":  # else every series is of the namespace of its job, or of none
        own = f"max without ({_THEIRS}) ({expr})"
        expr = f'label_replace({own}, "{_THEIRS}", "$1", "namespace", "(.+)")'
    return f"max without ({', '.join(_SET)}) ({expr})"


def _firing(alert: str) -> str:
    return (
        f"max without (alertgroup, alertname, alertstate) ({selector('ALERTS', alertname=alert, alertstate='firing')})"
    )


def _anomaly(discover: DiscoverConfig, alerting: AlertingConfig, pages: str | None) -> Alert:
    flag = f"anomaly_flag{{{_DECLARED}}}"
    up = selector("up", job=alerting.health.scrape_job)
    now = _of_series(f"last_over_time(anomaly_alert{{{_DECLARED}}}[5m])", discover)
    known = {"pod": "a", **_TEAM}
    judged = {"pod": "a", "namespace": "shop", "query": _QUERY, "detector": "auto"}
    if discover.enforce != "namespace":
        known[_THEIRS] = "shop"
    known["detector"] = "auto"
    own, other = series("anomaly_alert", **judged), series("anomaly_alert", **{**judged, "pod": "b"})
    reports = series("anomaly_flag", **judged)
    info = series(_INFO, query=_QUERY, severity="ticket", receivers="chat")
    twice = series(_INFO, query=_QUERY, severity="page", receivers="", instance="b")
    odd = {series("anomaly_alert", **{**judged, "severity": severity}): "1x40" for severity in ("page", "none")}
    page = series("up", job=alerting.health.scrape_job, instance="a")
    always = {info: "1x60", reports: "0x60", page: "1x60"}
    return Alert(
        name=names.DECLARED,
        expr=(
            f"{_routed(f'({now} == 1)')}\n"
            f"or (\n  {_firing(names.DECLARED)}\n  unless on (query) ({flag} unless on () ({up} == 0))\n)"
        ),
        labels={},
        summary=literal("Anomaly in ") + label("query", known) + entity(known, _ROUTING),
        description=literal(
            "An incident of this series is rare enough for the budget of its namespace. The graph shows the value with "
            "its band; the page of the exporter shows why."
        ),
        graph=graph(f"anomaly_score{{{_DECLARED}}}"),
        series=known,
        meaning="A job that a team declares in its namespace has an incident that is rare enough for the budget of "
        "this namespace. One rule holds for all declared jobs; the label `namespace` says whose it is.",
        action="Look at `anomaly_value` against `anomaly_lower` and `anomaly_upper` of this `query`. Too many of "
        "these: raise `least_deviation` in the job, or ask the operator of the exporter for another `budget`.",
        cases=(
            Case("fires", {own: "0 1x40", other: "0x40", **always}, 5, fires=True),
            Case("fires even if every second scrape fails", {own: "0" + " 1 stale" * 20, **always}, 15, fires=True),
            Case(
                "fires once though labels of the source are those that the rule sets",
                {**odd, **always},
                5,
                fires=True,
            ),
            Case("stays silent", {own: "0x40", **always}, 5, fires=False),
            Case(
                "stays while the exporter is down",
                {own: "0 1x9 stale", info: "1x9 stale", reports: "1x9 stale", page: "1x9 0x40"},
                30,
                fires=True,
            ),
            Case("is over when it is over", {own: "0 1x9 0x40", **always}, 25, fires=False),
            Case(
                "survives two replicas that do not agree yet",
                {own: "0 1x40", **always, info: "2x60", twice: "1x60"},
                5,
                fires=True,
            ),
        ),
        keep_firing_for=300.0,
        annotations={} if pages is None else {"page_url": page_link(pages, known, (*_ROUTING, _THEIRS))},
    )


def _vanished() -> Alert:
    gone = f'anomaly_series_vanished{{{_DECLARED},reason=~"down|stopped"}}'
    known = {**_TEAM, "reason": "stopped"}
    here = series("anomaly_series_vanished", query=_QUERY, detector="auto", pod="a", reason="stopped")
    replaced = series("anomaly_series_vanished", query=_QUERY, detector="auto", pod="a", reason="replaced")
    info = {series(_INFO, query=_QUERY, severity="ticket", receivers="chat"): "1x40"}
    return Alert(
        name=names.DECLARED_VANISHED,
        expr=_routed(f"count by (query, reason) (last_over_time({gone}[2m]))"),
        labels={},
        summary=literal("Series of ") + label("query", known) + " have vanished: " + label("reason", known),
        description=Text("{{ $value }}", "1") + literal(" series of this job have ended and are not judged any more."),
        graph=graph(gone),
        series=known,
        meaning="Series that a declared job evaluated have ended. `down`: their target is. `stopped`: it answers, and "
        "they are not there.",
        action="Which release or setting has taken the metric away? Was it meant to end: nothing is to be done, it is "
        "forgotten after `max_hold`.",
        cases=(
            Case("fires", {here: "_ 1x40", **info}, 9, fires=True),
            Case("stays silent for what was replaced", {replaced: "_ 1x40", **info}, 9, fires=False),
        ),
        for_=120.0,
    )


def _refused(common: dict[str, str]) -> Alert:
    known = {"namespace": "shop", "kind": "ConfigMap", "name": "jobs"}
    there = series(_REFUSED, **known)
    return Alert(
        name=names.REFUSED,
        expr=f"max by (namespace, kind, name) ({_REFUSED}) > 0",
        labels=common,
        summary=label("kind", known)
        + " "
        + label("name", known)
        + " of "
        + label("namespace", known)
        + " declares jobs that are refused",
        description=literal(
            "What is wrong is in an Event of the object (kubectl describe), in the exporter's log "
            "(declaration_refused) and on its page. All other jobs go on."
        ),
        graph=graph(_REFUSED),
        series=known,
        meaning="A team declares a job that the exporter cannot or must not run. Nothing judges what it was meant for, "
        "unless a version before stays in force.",
        action="The team corrects its object; `anomaly-exporter check-config --declared FILE` says the same offline.",
        cases=(
            Case("fires", {there: "1x60"}, 12, fires=True),
            Case("stays silent", {there: "1x5 stale"}, 12, fires=False),
        ),
        for_=600.0,
    )


def _lost(common: dict[str, str]) -> Alert:
    there = series(_UP, kind="ConfigMap", namespace="")
    known = {"kind": "ConfigMap"}
    return Alert(
        name=names.UNDISCOVERED,
        expr=f"min by (kind) ({_UP}) == 0",
        labels=common,
        summary=literal("The anomaly exporter does not see what teams declare in ") + label("kind", known) + " objects",
        description=literal("The jobs declared until now go on. New and changed ones are not seen."),
        graph=graph(_UP),
        series=known,
        meaning="Kubernetes does not answer the exporter, or does not let it list and watch these objects.",
        action="The exporter's log says why (`discovery_lost`). May its account get, list and watch them, does a "
        "NetworkPolicy let it reach the API server, and is the Prometheus operator installed if it is about rules?",
        cases=(
            Case("fires", {there: "1 0x60"}, 20, fires=True),
            Case("stays silent", {there: "1 0x5 1x60"}, 20, fires=False),
        ),
        for_=900.0,
    )
