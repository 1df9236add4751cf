"""What labels mean that many exporters share: which name a workload, which one of its instances, which its version."""

import re
from typing import Final

from detectors.types import Key

INSTANCE: Final = (
    *("instance", "pod", "pod_name", "exported_pod", "exported_instance", "kubernetes_pod_name", "uid", "id"),
    *("container_id", "pod_ip", "host_ip", "ip", "node", "nodename", "host", "hostname", "endpoint"),
    *("pod_template_hash", "controller_revision_hash", "replica", "prometheus_replica"),
)
"""Labels that differ from instance to instance of one workload, and with every rollout."""
VERSION: Final = (
    *("version", "revision", "tag", "image_tag", "app_version", "app_kubernetes_io_version", "release_version"),
    *("git_version", "gitVersion", "image", "commit", "git_commit", "gitCommit", "git_sha", "sha", "short_version"),
    *("branch", "goversion", "go_version", "goVersion", "build_date", "buildDate", "builddate", "build_time"),
    *("build", "builduser", "build_user", "buildUser", "checksum", "git_tree_state", "gitTreeState", "tags"),
    *("major", "minor", "patch", "compiler", "platform", "edition", "goarch", "goos", "last_applied_revision"),
)
"""Labels that say which version runs, the one that people know it by first."""
_NAMES: Final = 14
"""How many of them name a version; the others only tell that it is another one."""
SUBJECTS: Final = (
    *("deployment", "statefulset", "daemonset", "app_kubernetes_io_name", "app", "application", "service"),
    *("service_name", "workload", "component", "exported_service", "name", "exported_job", "container", "job"),
)
"""Labels that name a workload, the surest first."""
WEAK: Final = frozenset({"name", "container", "job", "exported_job"})
"""Those that may name something else in another exporter: two of them may differ and yet mean one workload."""
SCOPES: Final = frozenset(
    {"namespace", "exported_namespace", "dest_namespace", "cluster", "env", "environment", "stage", "region", "zone"}
    | {"datacenter", "dc", "tenant", "project"}
)
"""Labels that say where a workload is: they never name one, and where both sides have one they must agree."""
_SAME_SCOPE: Final = {"exported_namespace": "namespace", "dest_namespace": "namespace"}
_POD: Final = re.compile(r"-(?:[a-z0-9]{6,10}-)?[a-z0-9]{5}$|-[0-9]+$")


def subjects(key: Key) -> list[tuple[str, str]]:
    """Return the labels that name the workload of an entity, that of its pod's name with them.

    >>> subjects((("namespace", "shop"), ("pod", "checkout-7d9f8b6c54-x2x9k")))
    [('pod', 'checkout')]
    """
    found = [pair for pair in key if pair[0] in SUBJECTS]
    for name, value in key:
        if name in {"pod", "exported_pod", "pod_name"} and (whole := _POD.sub("", value)) != value:
            found.append((name, whole))
        elif name in {"job", "exported_job"} and "/" in value:
            found.append((name, value.rpartition("/")[2]))
    return found


def scopes(key: Key) -> dict[str, str]:
    """Return the labels that say where an entity is, by their usual names."""
    return {_SAME_SCOPE.get(name, name): value for name, value in key if name in SCOPES}


def version_of(labels: dict[str, str], said: str | None = None) -> str:
    """Return the version that labels name, "" where they name none.

    >>> version_of({"version": "v1.8.2", "revision": "4f5e6d7c8b9a0"}), version_of({"image": "shop/cart:2.1"})
    ('v1.8.2', '2.1')
    """
    if said is not None:
        return labels.get(said, "")
    for name in VERSION[:_NAMES]:
        value = labels.get(name, "")
        if not value or value == "(devel)":
            continue
        if name == "image":
            tail = value.rpartition("/")[2]
            value = tail.partition("@")[0].partition(":")[2] or tail.partition("@sha256:")[2][:7]
        if re.fullmatch(r"[0-9a-f]{12,64}", value):
            value = value[:7]
        if value:
            return value
    return ""


def name_of(owner: Key) -> str:
    """Return what people call the workload that labels name; all labels where none of them does."""
    by_name = dict(owner)
    for name in SUBJECTS:
        if value := by_name.get(name):
            return value
    return ", ".join(f"{name}={value}" for name, value in owner) or "something"
