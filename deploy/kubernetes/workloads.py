"""The workloads: the exporter as a Deployment or StatefulSet, the training as a CronJob."""

from typing import Any

from deploy.kubernetes.parts import Object, claim_spec, labels, named, pod, resources, selector
from deploy.kubernetes.settings import Settings


def deployment(settings: Settings) -> Object:
    """Return the exporter as one replica; it is stopped before a new one starts, since both would write the state.

    With a Lease there are two, on two nodes: one at a time is replaced, and only the leader writes.
    """
    data = {"persistentVolumeClaim": {"claimName": f"{settings.name}-data"}} if settings.keep_state else _SCRATCH
    template = _template(settings, ["run"], data)
    strategy: Object = {"type": "Recreate"}
    if settings.pair:
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}
        template["spec"]["topologySpreadConstraints"] = [_apart(settings)]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": named(settings, "exporter"),
        "spec": {
            "replicas": 2 if settings.pair else 1,
            "revisionHistoryLimit": 3,
            "progressDeadlineSeconds": 3600,  # a long warm-up is not a failure
            "strategy": strategy,
            "selector": {"matchLabels": selector(settings, "exporter")},
            "template": template,
        },
    }


def stateful_set(settings: Settings) -> Object:
    """Return the exporter as several replicas; each evaluates its shard of the entities and keeps its own state."""
    arguments = ["run", "--shard", f"auto/{settings.shards}"]
    template = _template(settings, arguments, None if settings.keep_state else _SCRATCH)
    template["spec"]["topologySpreadConstraints"] = [_apart(settings)]
    spec: dict[str, Any] = {
        "replicas": settings.shards,
        "serviceName": settings.name,
        "podManagementPolicy": "Parallel",
        "revisionHistoryLimit": 3,
        "selector": {"matchLabels": selector(settings, "exporter")},
        "template": template,
    }
    if settings.keep_state:
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "labels": labels(settings, "exporter")},
            "spec": claim_spec(settings, settings.state_size, "ReadWriteOnce"),
        }
        spec["volumeClaimTemplates"] = [claim]
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": named(settings, "exporter"), "spec": spec}


def cron_job(settings: Settings) -> Object:
    """Return the training: one at a time, with a deadline, retried only after failures that may be temporary."""
    arguments = ["train", "--json"] + (["--shards", str(settings.shards)] if settings.sharded else [])
    container = {
        "name": "train",
        "command": ["anomaly-exporter"],
        "args": arguments,
        "resources": resources(settings.train_resources),
    }
    spec = pod(settings, container, _SCRATCH)
    spec |= {"restartPolicy": "Never", "terminationGracePeriodSeconds": 60}
    if settings.models_path and not settings.sharded and not settings.pair:
        # Only one node at a time can mount the volume of the model store: train on the node of the exporter.
        beside = {
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": selector(settings, "exporter")},
        }
        spec["affinity"] = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [beside]}}
    job = {
        "backoffLimit": 2,
        "activeDeadlineSeconds": settings.train_deadline,
        "ttlSecondsAfterFinished": 7 * 86400,
        # A wrong configuration (2) would not change on a retry.
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": "train", "operator": "In", "values": [2]},
                },
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            ]
        },
        "template": {"metadata": {"labels": labels(settings, "train")}, "spec": spec},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": named(settings, "train", "-train"),
        "spec": {
            "schedule": settings.schedule,
            **({"timeZone": settings.time_zone} if settings.time_zone else {}),
            "concurrencyPolicy": "Forbid",
            # Also bounds how many missed starts the controller counts: it gives up beyond 100 of them.
            "startingDeadlineSeconds": 3600,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"metadata": {"labels": labels(settings, "train")}, "spec": job},
        },
    }


_SCRATCH: Object = {"emptyDir": {"sizeLimit": "1Gi"}}


def _template(settings: Settings, arguments: list[str], data: Object | None) -> Object:
    container = {
        "name": "exporter",
        "command": ["anomaly-exporter"],
        "args": arguments,
        "ports": [{"name": "metrics", "containerPort": settings.port, "protocol": "TCP"}],
        "resources": resources(settings.resources),
        # The port opens after imports and restoring state; two minutes are ten times as long as that takes.
        "startupProbe": {**_probe(settings, "healthy"), "periodSeconds": 2, "failureThreshold": 60},
        "livenessProbe": {**_probe(settings, "healthy"), "periodSeconds": 15, "timeoutSeconds": 5},
        "readinessProbe": {**_probe(settings, "ready"), "periodSeconds": 10, "timeoutSeconds": 5},
    }
    metadata: Object = {"labels": labels(settings, "exporter")}
    if settings.restart_on:
        metadata["annotations"] = {"anomaly-exporter/restart-on": settings.restart_on}
    # On a stop, cycles get 10 s; then state, audit and notifications are written.
    return {
        "metadata": metadata,
        "spec": {**pod(settings, container, data, token=settings.asks_kubernetes), "terminationGracePeriodSeconds": 45},
    }


def _apart(settings: Settings) -> Object:
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(settings, "exporter")},
    }


def _probe(settings: Settings, page: str) -> Object:
    if settings.client_certificates:  # a kubelet has no client certificate
        return {"tcpSocket": {"port": "metrics"}}
    scheme = {"scheme": "HTTPS"} if settings.https else {}
    return {"httpGet": {"path": f"/-/{page}", "port": "metrics", **scheme}}
