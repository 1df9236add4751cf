"""Rule files, the same as objects for the Prometheus operator, and their promtool tests."""

from collections.abc import Sequence
from typing import Any, Final

from exporter.config.sections.root import Config
from rules.alerts.alert import EXTERNAL_URL, Alert, Case, Group
from rules.render.yaml_text import document

RULES: Final = "rules"
OBJECTS: Final = "prometheus-operator"
TESTS: Final = "tests"


def rule_files(_: Config, groups: Sequence[Group]) -> dict[str, str]:
    """Return a rule file for each group."""
    return {f"{RULES}/{group.slug}.yml": document(rule_file(group)) for group in groups}


def objects(config: Config, groups: Sequence[Group]) -> dict[str, str]:
    """Return a PrometheusRule for each group."""
    return {f"{OBJECTS}/{group.slug}.yml": document(prometheus_rule(group, config)) for group in groups}


def tests(_: Config, groups: Sequence[Group]) -> dict[str, str]:
    """Return a file of promtool tests for each group."""
    return {f"{TESTS}/{group.slug}_test.yml": document(test_file(group)) for group in groups}


def rule_file(group: Group) -> dict[str, Any]:
    """Return what Prometheus loads."""
    return {"groups": [{"name": group.name, "rules": [alert.rule() for alert in group.alerts]}]}


def prometheus_rule(group: Group, config: Config) -> dict[str, Any]:
    """Return the object of prometheus-operator."""
    own = {"app.kubernetes.io/name": "anomaly-exporter", "app.kubernetes.io/component": "rules"}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": f"anomaly-exporter-{group.slug}", "labels": {**own, **config.alerting.rule_labels}},
        "spec": rule_file(group),
    }


def test_file(group: Group) -> dict[str, Any]:
    """Return what `promtool test rules` reads."""
    return {
        "rule_files": [f"../{RULES}/{group.slug}.yml"],
        "evaluation_interval": "1m",
        "tests": [_test(alert, case) for alert in group.alerts for case in alert.cases],
    }


def _test(alert: Alert, case: Case) -> dict[str, Any]:
    looked: dict[str, Any] = {"eval_time": f"{case.at}m", "alertname": alert.name}
    return {
        "name": f"{alert.name} {case.title}",
        "interval": "1m",
        "external_url": EXTERNAL_URL,
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [{**looked, "exp_alerts": [alert.fired(case)] if case.fires else []}],
    }
