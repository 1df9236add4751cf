"""Objects of the Prometheus operator: ServiceMonitor and PrometheusRules."""

from typing import Any

from deploy.kubernetes.parts import Object, labels, named, selector
from deploy.kubernetes.settings import Settings

GROUP = "monitoring.coreos.com/v1"


def service_monitor(settings: Settings) -> Object:
    """Return the ServiceMonitor."""
    endpoint: dict[str, Any] = {
        "port": "metrics",
        "interval": settings.scrape_interval,
        "honorLabels": True,
        # The alerts on the exporter itself select this job name.
        "relabelings": [{"action": "replace", "targetLabel": "job", "replacement": settings.scrape_job}],
    }
    if settings.https:
        # The certificate may be for any name; inside the cluster TLS only has to encrypt the traffic.
        endpoint |= {"scheme": "https", "tlsConfig": {"insecureSkipVerify": True}}
    if settings.scrape_secret:
        endpoint["basicAuth"] = {key: {"name": settings.scrape_secret, "key": key} for key in ("username", "password")}
    return {
        "apiVersion": GROUP,
        "kind": "ServiceMonitor",
        "metadata": _found(settings, "", "exporter"),
        "spec": {
            "selector": {"matchLabels": selector(settings, "exporter")},
            "endpoints": [endpoint],
        },
    }


def prometheus_rules(settings: Settings) -> list[Object]:
    """Return one PrometheusRule per group of alerts."""
    return [
        {
            "apiVersion": GROUP,
            "kind": "PrometheusRule",
            "metadata": _found(settings, f"-{slug}", "rules"),
            "spec": dict(spec),
        }
        for slug, spec in settings.rules.items()
    ]


def _found(settings: Settings, suffix: str, component: str) -> Object:
    metadata = named(settings, component, suffix)
    return {**metadata, "labels": {**settings.monitor_labels, **labels(settings, component)}}
