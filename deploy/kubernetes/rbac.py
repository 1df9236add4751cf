"""The least privileges needed to deploy, and those that the exporter needs beyond its own namespace.

The pods themselves need none but to renew a Lease and to find what teams declare.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from deploy.kubernetes.discover_roles import discover_roles
from deploy.kubernetes.objects import lease_role, objects
from deploy.kubernetes.parts import DEPLOYER, KEPT, KINDS, LEADING, OPERATOR, Object, named, selector
from deploy.kubernetes.settings import Settings


def rbac(settings: Settings) -> Iterator[Object]:
    """Yield an account to deploy with, its Role in the namespace and the RoleBinding, and the roles of `discover`."""
    metadata = named(settings, DEPLOYER, f"-{DEPLOYER}")
    # An administrator's, not ours: --apply and --delete must not touch the account that they run with.
    metadata["labels"] = selector(settings, DEPLOYER)
    yield {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata,
        "automountServiceAccountToken": False,
    }
    yield {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": metadata,
        "rules": list(_rules(settings)),
    }
    yield {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": metadata["name"]},
        "subjects": [{"kind": "ServiceAccount", "name": metadata["name"], "namespace": settings.namespace}],
    }
    yield from discover_roles(settings)


def _rules(settings: Settings) -> Iterator[Object]:
    """Yield the rules per kind. Verbs list and create cannot be restricted by name; all others can."""
    absent = (frozenset() if settings.operator else OPERATOR) | (frozenset() if settings.pair else LEADING)
    names: dict[str, list[str]] = {kind: [] for kind in KINDS if kind not in absent}
    # Also what an earlier configuration may have left: all of ours that --apply may have to delete.
    for each in objects(replace(settings, train=True, make_secret=True, secret=settings.name, secret_env=("any",))):
        names[each["kind"]].append(each["metadata"]["name"])
    for kind in ("Deployment", "StatefulSet"):  # when one replaces the other, the other is deleted
        names[kind] = [settings.name]
    if settings.pair:  # nobody can give away rights that he has not
        lease = next(each for each in lease_role(settings) if each["kind"] == "Role")
        yield from lease["rules"]
    yield _rule(["Namespace"], ["get"], names.pop("Namespace"))
    yield _rule(names, ["list", "create"])
    for kind, those in names.items():
        if kind == "PrometheusRule":  # names of rules of removed jobs are not known any more
            yield _rule([kind], ["get", "update", "delete"])
        elif those:
            verbs = ["get", "update"] if kind in KEPT else ["get", "update", "delete"]
            yield _rule([kind], verbs, those)


def _rule(kinds: Iterable[str], verbs: list[str], names: list[str] | None = None) -> Object:
    known = [KINDS[kind] for kind in kinds]
    made: Object = {
        "apiGroups": list(dict.fromkeys(kind.group for kind in known)),
        "resources": [kind.plural for kind in known],
        "verbs": verbs,
    }
    return {**made, "resourceNames": names} if names else made
