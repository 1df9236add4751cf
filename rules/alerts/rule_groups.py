"""All alerts of a configuration, in the groups in which they are evaluated."""

from dataclasses import replace
from typing import Final

from exporter.config.sections.root import Config
from rules.alerts.alert import Alert, Group, with_links
from rules.alerts.anomaly import anomaly
from rules.alerts.dead_target import target_down
from rules.alerts.declared import declared_alerts
from rules.alerts.exporter_health import self_alerts
from rules.alerts.group import storm
from rules.alerts.job_context import AlertedJob
from rules.alerts.limit_near import limit_near
from rules.alerts.missing_data import stale, vanished
from rules.alerts.names import alert_names, slug

SELF: Final = "exporter"
TARGETS: Final = "targets"
DECLARED_JOBS: Final = "declared"


def groups(config: Config) -> tuple[Group, ...]:
    """Return the groups on the exporter and on the targets, then one per job; each is written to its own rule file."""
    made = [Group("anomaly-exporter", SELF, None, self_alerts(config))]
    if dead := target_down(config.jobs.values(), config.alerting):
        made.append(Group("anomaly-exporter targets", TARGETS, None, dead))
    if config.discover is not None:
        alerts = declared_alerts(config.discover, config.alerting, config.web.external_url)
        made.append(Group("anomaly-exporter declared", DECLARED_JOBS, None, alerts))
    for job, name in alert_names(config.jobs).items():
        alerts = job_alerts(AlertedJob(job, config.jobs[job], name, config.alerting, config.web.external_url))
        made.append(Group(f"anomaly-exporter {job}", f"job-{slug(job)}", job, alerts))
    links = config.alerting.links
    return tuple(replace(group, alerts=tuple(with_links(alert, links) for alert in group.alerts)) for group in made)


def job_alerts(job: AlertedJob) -> tuple[Alert, ...]:
    """Return the alerts of one job; the alert of its group is evaluated together with those it mutes."""
    made = [anomaly(job)]
    if job.config.group:
        made.append(storm(job))
    if job.config.alert.vanished is not None:
        made.append(vanished(job, job.config.alert.vanished))
    if job.config.forecast is not None:
        made.append(limit_near(job, job.config.forecast))
    return (*made, stale(job))
