"""The alerts on the exporter itself: its failures must not look like normal operation."""

from exporter.config.sections.alerting import AlertingConfig
from exporter.config.sections.root import Config
from exporter.promql import selector
from rules.alerts import names
from rules.alerts.alert import Alert, Case, graph, labels, series
from rules.alerts.detector_fit import fit_alerts, old_model
from rules.alerts.job_health import job_alerts
from rules.alerts.model_health import model_alerts
from rules.alerts.templates import Text, literal


def self_alerts(config: Config) -> tuple[Alert, ...]:
    """Return the alerts that do not depend on a job."""
    alerting = config.alerting
    common = labels(alerting.health, alerting)
    return (
        _down(alerting.health.scrape_job, common),
        *job_alerts(common),
        old_model(alerting.health.model_max_age, common),
        *model_alerts(config.train, common),
        *fit_alerts(alerting.health.least_coverage, common),
        _reload(common),
        *([_writing(common)] if config.remote_write else []),
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


def _writing(common: dict[str, str]) -> Alert:
    lost = 'sum without (outcome) (increase(anomaly_exporter_remote_write_samples_total{outcome!="sent"}[15m])) > 0'
    known = {"instance": "a", "remote": "mimir"}
    taken = series("anomaly_exporter_remote_write_up", **known)
    dropped = series("anomaly_exporter_remote_write_samples_total", outcome="overflow", **known)
    return Alert(
        name=names.WRITING,
        expr=f"anomaly_exporter_remote_write_up == 0 or {lost}",
        labels=common,
        summary=literal("The anomaly exporter cannot write to ") + Text("{{ $labels.remote }}", "mimir"),
        description=literal(
            "For ten minutes this server has taken nothing, or refused samples, or samples were dropped since they "
            "waited for too long. Alerts that are evaluated there may miss incidents."
        ),
        graph=graph("anomaly_exporter_remote_write_up"),
        series=known,
        meaning="`remote_write` names a server that does not take what the exporter writes. Samples wait in memory up "
        "to `remote_write.queue`; then the oldest are dropped.",
        action="The exporter's log has `remote_write_failed` with what the server said. "
        "`anomaly_exporter_remote_write_samples_total` counts what is `refused` and what is lost by `overflow`.",
        cases=(
            Case("fires while nothing is taken", {taken: "1 0x30"}, 20, fires=True),
            Case("fires while samples are dropped", {taken: "1x40", dropped: "0+5x40"}, 30, fires=True),
            Case("stays silent", {taken: "1x40", dropped: "7x40"}, 30, fires=False),
        ),
        for_=600.0,
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
