"""Parts that many objects share: names, labels, and how a locked-down pod looks."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from deploy.kubernetes.settings import CONFIG, DATA, UID, Resources, Settings

Object = dict[str, Any]


def selector(settings: Settings, component: str) -> dict[str, str]:
    """Return the labels by which pods are selected; they can never be changed."""
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


def resources(wanted: Resources) -> Object:
    """Return requests and limits of a container."""
    return {
        "requests": {"cpu": wanted.cpu, "memory": wanted.memory},
        "limits": {"cpu": wanted.cpu_limit, "memory": wanted.memory_limit},
    }


def claim_spec(settings: Settings, size: str, access: str) -> Object:
    """Return what is asked of a volume."""
    made: Object = {"accessModes": [access], "resources": {"requests": {"storage": size}}}
    return {**made, "storageClassName": settings.storage_class} if settings.storage_class else made


def pod(settings: Settings, container: Mapping[str, Any], data: Mapping[str, Any] | None) -> Object:
    """Return what all pods are alike in, around one container.

    Parameters
    ----------
    settings : Settings
    container : mapping
        Name, arguments, resources, probes.
    data : mapping or None
        The volume for the working directory; None where a claim of that name comes from a StatefulSet.
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
    mounts.append({"name": "tmp", "mountPath": "/tmp"})  # noqa: S108 - a volume of the pod's own
    return {
        "serviceAccountName": settings.name,
        "automountServiceAccountToken": False,
        # They would come as ANOMALY_EXPORTER_… variables, which are ours to mean something by.
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
    # Libraries keep caches in the home directory, and joblib puts large arrays beside them.
    made += [{"name": name, "value": "/tmp"} for name in ("HOME", "JOBLIB_TEMP_FOLDER")]  # noqa: S108 - as above
    for key in settings.secret_env:
        made.append({"name": key, "valueFrom": {"secretKeyRef": {"name": settings.secret, "key": key}}})
    return made


def _folders(files: tuple[str, ...]) -> dict[str, list[str]]:
    """Return the names of files by their folder."""
    found: dict[str, list[str]] = {}
    for file in files:
        path = PurePosixPath(file)
        found.setdefault(str(path.parent), []).append(path.name)
    return found
