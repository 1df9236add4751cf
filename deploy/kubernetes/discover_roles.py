"""What the exporter may do to find the jobs that teams declare (`discover`): an administrator's to give.

In one namespace that is a Role there. In all of them it is a ClusterRole, and lets the exporter read every ConfigMap of
the cluster: Kubernetes cannot limit a list to a label.
"""

from collections.abc import Iterator
from typing import Any, Final

from deploy.kubernetes.parts import Object, labels, selector
from deploy.kubernetes.settings import HELM, Settings

COMPONENT: Final = "discover"
_GROUPS: Final = {"configmaps": "", "prometheusrules": "monitoring.coreos.com"}
_API: Final = "rbac.authorization.k8s.io"


def discover_roles(settings: Settings) -> Iterator[Object]:
    """Yield a Role and its binding for each namespace, or a ClusterRole and its binding for all."""
    if not settings.discover:
        return
    for namespace in settings.discover_namespaces or ("",):
        metadata = _metadata(settings, namespace)
        kind = "Role" if namespace else "ClusterRole"
        yield {"apiVersion": f"{_API}/v1", "kind": kind, "metadata": metadata, "rules": list(_rules(settings))}
        yield {
            "apiVersion": f"{_API}/v1",
            "kind": f"{kind}Binding",
            "metadata": metadata,
            "roleRef": {"apiGroup": _API, "kind": kind, "name": metadata["name"]},
            "subjects": [{"kind": "ServiceAccount", "name": settings.name, "namespace": settings.namespace}],
        }


def _metadata(settings: Settings, namespace: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        # Two exporters of one name in two namespaces have roles of their own.
        "name": f"{settings.namespace}-{settings.name}-{COMPONENT}",
        "labels": (labels if settings.managed_by == HELM else selector)(settings, COMPONENT),
    }
    return {**made, "namespace": namespace} if namespace else made


def _rules(settings: Settings) -> Iterator[Object]:
    for resource in settings.discover:
        yield {"apiGroups": [_GROUPS[resource]], "resources": [resource], "verbs": ["list", "watch"]}
    yield {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]}
