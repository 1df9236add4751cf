"""What objects have in common: kinds, names, labels, and the pod without privileges."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

from deploy.kubernetes.settings import CONFIG, DATA, HELM, UID, Resources, Settings

Object = dict[str, Any]


class Kind(NamedTuple):
    """Names of a kind in the API."""

    plural: str
    api_version: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]


KINDS: Final = {
    "Namespace": Kind("namespaces", "v1", namespaced=False),
    "ServiceAccount": Kind("serviceaccounts", "v1"),
    "Role": Kind("roles", "rbac.authorization.k8s.io/v1"),
    "RoleBinding": Kind("rolebindings", "rbac.authorization.k8s.io/v1"),
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
"""In the order of creation."""
OPERATOR: Final = frozenset({"ServiceMonitor", "PrometheusRule"})
"""Kinds that exist only with the Prometheus operator."""
LEADING: Final = frozenset({"Role", "RoleBinding"})
"""Kinds that exist only where pods choose a leader."""
KEPT: Final = frozenset({"Namespace", "PersistentVolumeClaim"})
"""Kinds that are never deleted: their content cannot be restored."""
PRECIOUS: Final = KEPT | {"Secret"}
"""Kinds that are not deleted because they are wanted no more: a Secret may hold the only copy of the models' key."""
DEPLOYER: Final = "deploy"
"""Component of the account to deploy with, which an administrator makes."""


def selector(settings: Settings, component: str) -> dict[str, str]:
    """Return the labels by which pods are selected; Kubernetes does not allow to change them."""
    return {
        "app.kubernetes.io/name": "anomaly-exporter",
        "app.kubernetes.io/instance": settings.name,
        "app.kubernetes.io/component": component,
    }


def labels(settings: Settings, component: str) -> dict[str, str]:
    """Return the labels of an object."""
    return {**selector(settings, component), "app.kubernetes.io/managed-by": settings.managed_by}


def named(settings: Settings, component: str, suffix: str = "") -> Object:
    """Return the metadata of an object in the namespace."""
    return {
        "name": settings.name + suffix,
        "namespace": settings.namespace,
        "labels": labels(settings, component),
    }


def lasting(settings: Settings, metadata: Object) -> Object:
    """Return the metadata of an object of a `PRECIOUS` kind: Helm, too, leaves it in the cluster."""
    return {**metadata, "annotations": {"helm.sh/resource-policy": "keep"}} if settings.managed_by == HELM else metadata


def resources(wanted: Resources) -> Object:
    """Return requests and limits of a container."""
    return {
        "requests": {"cpu": wanted.cpu, "memory": wanted.memory},
        "limits": {"cpu": wanted.cpu_limit, "memory": wanted.memory_limit},
    }


def claim_spec(settings: Settings, size: str, access: str) -> Object:
    """Return the spec of a volume claim."""
    made: Object = {"accessModes": [access], "resources": {"requests": {"storage": size}}}
    return {**made, "storageClassName": settings.storage_class} if settings.storage_class else made


def pod(
    settings: Settings, container: Mapping[str, Any], data: Mapping[str, Any] | None, *, token: bool = False
) -> Object:
    """Return the pod spec around one container: volumes, environment, no privileges.

    Parameters
    ----------
    settings : Settings
    container : mapping
        Name, arguments, resources, probes.
    data : mapping or None
        Volume of the working directory; None if a StatefulSet provides a claim of that name.
    token : bool
        Whether the pod needs that of its account, to renew a Lease or to find what teams declare.
    """
    volumes: list[Object] = [{"name": "config", "configMap": {"name": settings.name}}]
    mounts: list[Object] = [{"name": "config", "mountPath": CONFIG, "readOnly": True}]
    volumes += [{"name": "data", **data}] if data is not None else []
    mounts.append({"name": "data", "mountPath": DATA})
    if settings.models_path:
        volumes.append({"name": "models", "persistentVolumeClaim": {"claimName": f"{settings.name}-models"}})
        mounts.append({"name": "models", "mountPath": settings.models_path})
    for number, (folder, keys) in enumerate(_folders(settings.secret_files).items()):
        items = [{"key": key, "path": key} for key in keys]
        secret = {"secretName": settings.secret, "items": items, "defaultMode": 0o440}
        volumes.append({"name": f"secrets-{number}", "secret": secret})
        mounts.append({"name": f"secrets-{number}", "mountPath": folder, "readOnly": True})
    volumes.append({"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}})
    mounts.append({"name": "tmp", "mountPath": "/tmp"})  # noqa: S108 - a volume of the pod
    return {
        "serviceAccountName": settings.name,
        "automountServiceAccountToken": token,
        # Service links are variables named ANOMALY_EXPORTER_…, which the exporter would read as settings.
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": UID,
            "runAsGroup": UID,
            "fsGroup": UID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "image": settings.image,
                "imagePullPolicy": settings.pull_policy,
                "workingDir": DATA,
                "env": _environment(settings),
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "readOnlyRootFilesystem": True,
                },
                "volumeMounts": mounts,
                **container,
            }
        ],
        "volumes": volumes,
    }


def _environment(settings: Settings) -> list[Object]:
    made: list[Object] = [{"name": "ANOMALY_EXPORTER_CONFIG", "value": f"{CONFIG}/{settings.config_file}"}]
    if settings.profile:
        made.append({"name": "ANOMALY_EXPORTER_PROFILE", "value": settings.profile})
    # Libraries write caches to the home directory, joblib large arrays to its temporary folder.
    made += [{"name": name, "value": "/tmp"} for name in ("HOME", "JOBLIB_TEMP_FOLDER")]  # noqa: S108 - as above
    for key in settings.secret_env:
        made.append({"name": key, "valueFrom": {"secretKeyRef": {"name": settings.secret, "key": key}}})
    return made


def _folders(files: tuple[str, ...]) -> dict[str, list[str]]:
    """Return the file names by folder."""
    found: dict[str, list[str]] = {}
    for file in files:
        path = PurePosixPath(file)
        found.setdefault(str(path.parent), []).append(path.name)
    return found
