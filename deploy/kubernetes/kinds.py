"""Every kind of object that is ever made, and how the API calls it."""

from typing import Final, NamedTuple


class Kind(NamedTuple):
    """How the API calls a kind."""

    plural: str
    api_version: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """Its API group; empty for the core."""
        return self.api_version.rpartition("/")[0]


KINDS: Final = {
    "Namespace": Kind("namespaces", "v1", namespaced=False),
    "ServiceAccount": Kind("serviceaccounts", "v1"),
    "ConfigMap": Kind("configmaps", "v1"),
    "Secret": Kind("secrets", "v1"),
    "PersistentVolumeClaim": Kind("persistentvolumeclaims", "v1"),
    "NetworkPolicy": Kind("networkpolicies", "networking.k8s.io/v1"),
    "Service": Kind("services", "v1"),
    "PodDisruptionBudget": Kind("poddisruptionbudgets", "policy/v1"),
    "Deployment": Kind("deployments", "apps/v1"),
    "StatefulSet": Kind("statefulsets", "apps/v1"),
    "CronJob": Kind("cronjobs", "batch/v1"),
    "ServiceMonitor": Kind("servicemonitors", "monitoring.coreos.com/v1"),
    "PrometheusRule": Kind("prometheusrules", "monitoring.coreos.com/v1"),
}
"""In the order in which they are made."""
OPERATOR: Final = frozenset({"ServiceMonitor", "PrometheusRule"})
"""Those that a cluster knows only with the Prometheus operator."""
KEPT: Final = frozenset({"Namespace", "PersistentVolumeClaim"})
"""Those that are never deleted: what they hold cannot be made again."""
