"""NetworkPolicies: Prometheus comes in; the source, DNS and what the configuration names are all that goes out."""

from typing import Any

from deploy.kubernetes.parts import Object, named, selector
from deploy.kubernetes.settings import Settings

DNS: Object = {
    "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
    "ports": [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")],
}


def network_policies(settings: Settings) -> list[Object]:
    """Return a policy for the exporter's pods, and one for those of the training where there is one."""
    page: dict[str, Any] = {"ports": [{"port": "metrics", "protocol": "TCP"}]}
    if settings.scrape_namespace:
        namespace = {"kubernetes.io/metadata.name": settings.scrape_namespace}
        page = {"from": [{"namespaceSelector": {"matchLabels": namespace}}], **page}
    made = [_policy(settings, "exporter", "", [page])]
    return [*made, _policy(settings, "train", "-train", [])] if settings.train else made


def _policy(settings: Settings, component: str, suffix: str, ingress: list[Object]) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": named(settings, component, suffix),
        "spec": {
            "podSelector": {"matchLabels": selector(settings, component)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": [DNS, *map(dict, settings.egress)],
        },
    }
