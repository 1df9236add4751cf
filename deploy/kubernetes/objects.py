"""The objects as plain dicts, in the order in which they are made. Every builder takes the settings alone."""

from collections.abc import Iterator, Mapping
from typing import Any

from deploy.kubernetes.monitoring import prometheus_rules, service_monitor
from deploy.kubernetes.network import network_policies
from deploy.kubernetes.parts import Object, claim_spec, labels, named, selector
from deploy.kubernetes.settings import Settings
from deploy.kubernetes.workloads import cron_job, deployment, stateful_set

__all__ = ["Object", "config_map", "cron_job", "deployment", "namespace", "objects", "secret", "stateful_set"]


def objects(settings: Settings) -> Iterator[Object]:
    """Yield every object, what others need first. The Secret has no values."""
    yield namespace(settings)
    yield service_account(settings)
    yield config_map(settings)
    if settings.make_secret and (settings.secret_env or settings.secret_files):
        yield secret(settings)
    yield from claims(settings)
    yield from network_policies(settings)
    yield service(settings)
    yield disruption_budget(settings)
    yield stateful_set(settings) if settings.sharded else deployment(settings)
    if settings.train:
        yield cron_job(settings)
    if settings.operator:
        yield service_monitor(settings)
        yield from prometheus_rules(settings)


def namespace(settings: Settings) -> Object:
    """Return the Namespace, whose pods must all be as locked down as ours."""
    enforce = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
    metadata = {"name": settings.namespace, "labels": {**labels(settings, "namespace"), **enforce}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def service_account(settings: Settings) -> Object:
    """Return the pods' account: it has no rights, and no token is handed out."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": named(settings, "exporter"),
        "automountServiceAccountToken": False,
    }


def config_map(settings: Settings) -> Object:
    """Return the configuration files; a running exporter notices when they change."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": named(settings, "config"),
        "data": dict(settings.config),
    }


def secret(settings: Settings, values: Mapping[str, str] | None = None) -> Object:
    """Return the Secret; without values it is only the place for them."""
    made: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {**named(settings, "config"), "name": settings.secret},
        "type": "Opaque",
    }
    return made if values is None else {**made, "stringData": dict(values)}


def claims(settings: Settings) -> Iterator[Object]:
    """Yield the volume claims: the exporter's data (a StatefulSet makes its own) and the model store."""
    if settings.keep_state and not settings.sharded:
        yield claim(settings, "data", settings.state_size, "ReadWriteOnce")
    if settings.models_path:
        yield claim(settings, "models", settings.models_size, "ReadWriteMany" if settings.sharded else "ReadWriteOnce")


def claim(settings: Settings, suffix: str, size: str, access: str) -> Object:
    """Return one volume claim."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": named(settings, "exporter", f"-{suffix}"),
        "spec": claim_spec(settings, size, access),
    }


def service(settings: Settings) -> Object:
    """Return the Service. A replica that warms up is scraped too: its own metrics say how far it is."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": named(settings, "exporter"),
        "spec": {
            "clusterIP": "None",  # for every number of replicas: it can never be changed
            "publishNotReadyAddresses": True,
            "selector": selector(settings, "exporter"),
            "ports": [{"name": "metrics", "port": settings.port, "targetPort": "metrics", "protocol": "TCP"}],
        },
    }


def disruption_budget(settings: Settings) -> Object:
    """Return the PodDisruptionBudget: one replica at a time may be moved, so that a node can always be emptied."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": named(settings, "exporter"),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector(settings, "exporter")}},
    }
