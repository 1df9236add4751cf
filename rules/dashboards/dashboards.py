"""The dashboards: anomalies, and the health of the exporter, for Grafana and Perses. They are the same for all jobs."""

from collections.abc import Sequence
from typing import Final

from exporter.config.sections.root import Config
from rules.alerts.alert import Group
from rules.dashboards import anomalies, exporter_health, grafana, grafana_v2, perses
from rules.dashboards.panels import ANOMALIES

FOLDER: Final = "dashboards"
PERSES: Final = "perses"
HEALTH: Final = "exporter-health"


def files(config: Config, _: Sequence[Group]) -> dict[str, str]:
    """Return the dashboards as JSON: of Grafana, which provisions or imports them, and of Perses."""
    shown, itself = anomalies.shown(), exporter_health.shown(config.alerting.health.scrape_job)
    runbook = config.alerting.links.runbook
    board = grafana.board("Anomalies", ANOMALIES, shown, runbook)
    for variable in anomalies.VARIABLES:
        board.with_variable(grafana.choice(variable))
    of_entity = [grafana.number_of(anomalies.ENTITY, panel) for panel in shown[anomalies.ENTITY]]
    board.annotation(grafana.annotation("Incidents", anomalies.INCIDENTS, "red", of_entity))
    board.annotation(grafana.annotation("Deploys", anomalies.DEPLOYS, "blue"))
    health = grafana.board("Anomaly exporter health", f"anomaly-{HEALTH}", itself, runbook)
    written = grafana_v2.text if config.alerting.grafana_schema == "v2" else str
    return {
        f"{FOLDER}/{ANOMALIES}.json": written(grafana.text(board)),
        f"{FOLDER}/{HEALTH}.json": written(grafana.text(health)),
        f"{PERSES}/{ANOMALIES}.json": perses.board("Anomalies", ANOMALIES, shown, entities=True),
        f"{PERSES}/{HEALTH}.json": perses.board("Anomaly exporter health", f"anomaly-{HEALTH}", itself),
    }
