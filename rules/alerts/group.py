"""The alert on a group of series with anomalies at the same time; it mutes the alerts of its members."""

from exporter.label_names import RESERVED, published_names
from exporter.promql import label_name, quote
from rules.alerts import names
from rules.alerts.alert import Alert, Case, series
from rules.alerts.job_context import AlertedJob
from rules.alerts.templates import Text, entity, graph_link, label_value, literal


def group_labels(job: AlertedJob) -> tuple[str, ...]:
    """Return the labels of `anomaly_group_score` that the alert of a group shares with those of its members."""
    return tuple(name for name in _shown(job) if name not in job.ours)


def _shown(job: AlertedJob) -> tuple[str, ...]:
    return published_names(job.config.group, RESERVED, job.alerting.escaping)


def storm(job: AlertedJob) -> Alert:
    """Return the alert on `anomaly_group_score`; it then stays while two members have an incident."""
    group = group_labels(job)
    shared = dict.fromkeys(_shown(job), "g")
    source = {**shared, **job.judged}
    known = job.known(source)
    score, on = job.newest("anomaly_group_score"), ", ".join(map(label_name, ["query", *group]))
    flagged = f"last_over_time({job.selector('anomaly_flag')}[{job.recent}]) == 1"
    rest = literal(" series of this group have an incident at once; their own alerts are muted.")
    own = series("anomaly_group_score", **source)
    members = dict.fromkeys(series("anomaly_flag", **{**job.entity(value), **shared}) for value in "ab")
    over = job.minutes_after(4)
    troubled, calm = dict.fromkeys(members, "0 1x9 stale"), dict.fromkeys(members, "0x20")
    return Alert(
        name=names.STORM,
        expr=(
            f"{score} > 1\n"
            f"or (\n  {job.firing(names.STORM)}\n  and on ({on}) count by ({on}) ({flagged}) > 1\n)\n"
            f"or {job.still_firing(names.STORM, score, job.reachable)}"
        ),
        labels=job.labels,
        summary=literal(f"Many anomalies at once in {job.name}") + entity(known, job.labels),
        description=_count(job, group, len(members)) + rest,
        graph=graph_link('{__name__=~"anomaly_(flag|group_score)",%s}', known, job.labels),
        series=known,
        meaning="More series of one group have an incident at once than chance and the group's history explain. It "
        "mutes the alerts of its members, and lasts while two of them have an incident.",
        detail=f"groups by {', '.join(group) or 'nothing'}",
        action="Look for what the members share: a rack, a node, a deployment, a dependency.",
        cases=(
            Case("fires", {own: "0.5 3x20", **troubled}, 3, fires=True),
            Case("stays silent", {own: "1x20", **calm}, 3, fires=False),
            Case(
                "stays without new results",
                {own: "0.5 3x9 stale", **troubled},
                60,
                fires=True,
                description="Several" + rest.example,
            ),
            Case(
                "is over when it is over",
                {own: f"0.5 3 3 0.5x{over}", **calm},
                over,
                fires=False,
            ),
        ),
        keep_firing_for=job.config.alert.keep_firing_for,
        annotations=job.annotations,
    )


def _count(job: AlertedJob, group: tuple[str, ...], example: int) -> Text:
    """Return how many members have an incident; printf completes the query with the group's labels.

    It is "Several" while there are no new results.
    """
    where = "".join(f",{label_name(name).replace('%', '%%')}=%q" for name in group)
    flags = job.selector("anomaly_flag")[:-1].replace("%", "%%")
    values = "".join(f" {label_value(name)}" for name in group)
    query = quote(f"count({flags}{where}}} == 1)")
    asked = f"(printf {query}{values})" if group else query.replace("%%", "%")
    return Text("{{ range query " + asked + " }}{{ .Value }}{{ else }}Several{{ end }}", str(example))
