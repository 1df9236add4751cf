"""Objects in which teams declare jobs."""

from typing import Any

from exporter.config.sections.discover import JOBS


def config_map(namespace: str, text: str, name: str = "jobs", created: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {JOBS: "true"},
            "creationTimestamp": created,
        },
        "data": {"jobs.yml": text, "README": "not read"},
    }


def prometheus_rule(
    namespace: str, *rules: dict[str, Any], annotation: str = "", name: str = "rules"
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "creationTimestamp": "2026-01-01T00:00:00Z"}
    if annotation:
        metadata["annotations"] = {JOBS: annotation}
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": metadata,
        "spec": {"groups": [{"name": "AnomalyOTELDemo", "rules": list(rules)}] if rules else []},
    }


def grafana_rule(name: str, strategy: str) -> dict[str, Any]:
    """A recording rule as those of grafana/promql-anomaly-detection."""
    return {
        "record": "anomaly:request:rate5m",
        "expr": "sum(rate(traces_span_metrics_duration_milliseconds_count[5m])) by (job)",
        "labels": {"anomaly_name": name, "anomaly_type": "requests", "anomaly_strategy": strategy},
    }
