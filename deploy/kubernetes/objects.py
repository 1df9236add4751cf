"""Builders of the objects, as plain dicts. Each builder takes only the settings."""

from collections.abc import Iterator, Mapping
from typing import Any

from deploy.kubernetes.monitoring import prometheus_rules, service_monitor
from deploy.kubernetes.parts import Object, claim_spec, labels, lasting, named, selector
from deploy.kubernetes.settings import Settings
from deploy.kubernetes.workloads import cron_job, deployment, stateful_set

__all__ = ["Object", "config_map", "cron_job", "deployment", "namespace", "objects", "secret", "stateful_set"]


_DNS: Object = {
    "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
    "ports": [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")],
}


def objects(settings: Settings) -> Iterator[Object]:
    """Yield every object in the order of creation. The Secret has no values."""
    yield namespace(settings)
    yield service_account(settings)
    if settings.pair:
        yield from lease_role(settings)
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
    """Return the Namespace; it enforces the restricted Pod Security Standard for all its pods."""
    enforce = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
    metadata = {"name": settings.namespace, "labels": {**labels(settings, "namespace"), **enforce}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def service_account(settings: Settings) -> Object:
    """Return the account of the pods: no privileges, no token."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": named(settings, "exporter"),
        "automountServiceAccountToken": False,
    }


def lease_role(settings: Settings) -> Iterator[Object]:
    """Yield what lets the pods choose a leader, and nothing else: a Role for one Lease, and its binding."""
    group = "rbac.authorization.k8s.io"
    metadata = named(settings, "exporter", "-leader")
    rules = [
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create"]},
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "verbs": ["get", "update"],
            "resourceNames": [settings.lease],
        },
    ]
    yield {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": rules}
    yield {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": group, "kind": "Role", "name": metadata["name"]},
        "subjects": [{"kind": "ServiceAccount", "name": settings.name, "namespace": settings.namespace}],
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
    """Return the Secret; `values` None leaves out its data."""
    made: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": lasting(settings, {**named(settings, "config"), "name": settings.secret}),
        "type": "Opaque",
    }
    return made if values is None else {**made, "stringData": dict(values)}


def claims(settings: Settings) -> Iterator[Object]:
    """Yield the volume claims: the exporter's data (a StatefulSet has its own) and the model store."""
    if settings.keep_state and not settings.sharded:
        yield claim(settings, "data", settings.state_size, "ReadWriteMany" if settings.pair else "ReadWriteOnce")
    if settings.models_path:
        several = settings.sharded or settings.pair
        yield claim(settings, "models", settings.models_size, "ReadWriteMany" if several else "ReadWriteOnce")


def claim(settings: Settings, suffix: str, size: str, access: str) -> Object:
    """Return one volume claim."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": lasting(settings, named(settings, "exporter", f"-{suffix}")),
        "spec": claim_spec(settings, size, access),
    }


def network_policies(settings: Settings) -> list[Object]:
    """Return a policy for the pods of the exporter and one for those of the training.

    Only Prometheus may connect. Pods may connect to DNS and to the addresses in the configuration.
    """
    page: dict[str, Any] = {"ports": [{"port": "metrics", "protocol": "TCP"}]}
    if settings.scrape_namespace:
        namespace = {"kubernetes.io/metadata.name": settings.scrape_namespace}
        page = {"from": [{"namespaceSelector": {"matchLabels": namespace}}], **page}
    made = [_policy(settings, "exporter", "", {"ingress": [page]})]
    # Nobody connects to a training. No list at all says so; the cluster drops an empty one, and kubectl writes it anew.
    return [*made, _policy(settings, "train", "-train", {})] if settings.train else made


def _policy(settings: Settings, component: str, suffix: str, ingress: Object) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": named(settings, component, suffix),
        "spec": {
            "podSelector": {"matchLabels": selector(settings, component)},
            "policyTypes": ["Ingress", "Egress"],
            **ingress,
            "egress": [_DNS, *map(dict, settings.egress)],
        },
    }


def service(settings: Settings) -> Object:
    """Return the Service. It includes pods that are warming up: their own metrics show the progress."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": named(settings, "exporter"),
        "spec": {
            "clusterIP": "None",  # headless for every number of replicas: this field cannot be changed later
            "publishNotReadyAddresses": True,
            "selector": selector(settings, "exporter"),
            "ports": [{"name": "metrics", "port": settings.port, "targetPort": "metrics", "protocol": "TCP"}],
        },
    }


def disruption_budget(settings: Settings) -> Object:
    """Return the PodDisruptionBudget: one replica at a time may be evicted, so that a node can always be drained."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": named(settings, "exporter"),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector(settings, "exporter")}},
    }
