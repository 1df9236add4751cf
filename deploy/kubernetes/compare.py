"""Comparison of objects as they are in the cluster with those that would replace them."""

import copy
from base64 import b64encode
from collections.abc import Iterator, Mapping
from difflib import unified_diff
from typing import Any, Final

from deploy.kubernetes.errors import DeployError
from deploy.kubernetes.parts import Object
from deploy.kubernetes.settings import MANAGER
from exporter.redact import masked
from rules.render.yaml_text import text

APPLIED: Final = "anomaly-exporter/applied"
"""Annotation of every object that `--apply` has made; those made by hand or with --rbac are never removed as stale."""
_ALLOCATED: Final = frozenset({"Service", "PersistentVolumeClaim"})
"""Kinds whose spec the cluster completes with fields that must be kept."""
_WORKLOADS: Final = frozenset({"Deployment", "StatefulSet"})
_BOOKKEEPING: Final = frozenset(
    {
        *("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid"),
        *("deployment.kubernetes.io/revision", "kubectl.kubernetes.io/last-applied-configuration"),
    }
)
_OURS: Final = "anomaly-exporter/"
"""Beginning of our own annotations."""


def ours(found: Object) -> bool:
    """Return whether an object in the cluster is ours."""
    labels = found["metadata"].get("labels") or {}
    return bool(labels.get("app.kubernetes.io/managed-by") == MANAGER)


def require_ours(found: Object) -> None:
    """Raise DeployError if an object in the cluster has another owner."""
    if not ours(found):
        kind, name, namespace = found["kind"], found["metadata"]["name"], found["metadata"].get("namespace")
        owner = (found["metadata"].get("labels") or {}).get("app.kubernetes.io/managed-by")
        raise DeployError(
            f"{kind} {name} in {namespace} is {f'managed by {owner}' if owner else 'not labelled as ours'} and stays "
            f"as it is: use another --name or --namespace, or hand it over: kubectl -n {namespace} label "
            f"{kind.lower()}/{name} app.kubernetes.io/managed-by={MANAGER} --overwrite"
        )


def marked(wanted: Object) -> Object:
    """Return an object as it is sent: values of a Secret encoded, and with our annotation."""
    made = {key: value for key, value in wanted.items() if key != "stringData"}
    if "stringData" in wanted:
        made["data"] = {key: b64encode(value.encode()).decode() for key, value in wanted["stringData"].items()}
    metadata = wanted["metadata"]
    made["metadata"] = {**metadata, "annotations": {**metadata.get("annotations", {}), APPLIED: "true"}}
    return made


def alike(before: Object, after: Object) -> bool:
    """Return whether a replacement changes nothing: the object as it is, and as the cluster says it will be."""
    return _visible(before) == _visible(after)


def successor(wanted: Object, found: Object) -> Object:
    """Return the replacement of `found`: the wanted object (`marked`) with the labels and annotations of others.

    Those of the pods stay too: without the time of a `kubectl rollout restart` they would restart once more.
    """
    made = {**found, **wanted}
    if wanted["kind"] in _ALLOCATED:
        made["spec"] = _over(found["spec"], wanted["spec"])
    there = {key: value for key, value in found["metadata"].items() if key != "managedFields"}
    made["metadata"] = {**there, **wanted["metadata"]}
    for what in ("labels", "annotations"):
        theirs = _of_others(found, "metadata", what)
        made["metadata"][what] = {**theirs, **wanted["metadata"].get(what, {})}
    if wanted["kind"] in _WORKLOADS:
        made["spec"] = copy.deepcopy(wanted["spec"])
        pod = made["spec"]["template"]["metadata"]
        theirs = _of_others(found, "spec", "template", "metadata", "annotations")
        if annotations := {**theirs, **pod.get("annotations", {})}:
            pod["annotations"] = annotations
    made.pop("status", None)
    return made


def _of_others(found: Object, *path: str) -> dict[str, str]:
    """Return the labels or annotations at a path that we have not set: the cluster notes who did."""
    managers = found["metadata"].get("managedFields") or ()
    there, fields = found, [each.get("fieldsV1") or {} for each in managers if each.get("manager") == MANAGER]
    for name in path:
        there = there.get(name) or {}
        fields = [each.get(f"f:{name}") or {} for each in fields]
    return {
        key: value
        for key, value in there.items()
        if not key.startswith(_OURS) and not any(f"f:{key}" in each for each in fields)
    }


def _over(base: Any, top: Any) -> Any:
    if not (isinstance(base, Mapping) and isinstance(top, Mapping)):
        return top
    return {**base, **{key: _over(base.get(key), value) for key, value in top.items()}}


def difference(before: Object | None, after: Object) -> Iterator[str]:
    """Yield the lines of a unified diff between two states of an object in the cluster; of a Secret only the keys."""
    kind, name = after["kind"], after["metadata"]["name"]
    old, new = ([] if each is None else _lines(each, after) for each in (before, after))
    yield from map(masked, unified_diff(old, new, f"cluster {kind} {name}", f"wanted {kind} {name}", lineterm=""))


def _lines(found: Object, after: Object) -> list[str]:
    return text(_visible(_hidden(found, after) if found["kind"] == "Secret" else found)).splitlines()


def _visible(found: Object) -> Object:
    """Return what people and we write of an object, in the order of its keys; the rest is the cluster's bookkeeping."""
    metadata = {key: value for key, value in found["metadata"].items() if key not in _BOOKKEEPING}
    if "annotations" in metadata:
        metadata["annotations"] = {k: v for k, v in metadata["annotations"].items() if k not in _BOOKKEEPING}
    made: Object = _sorted({**found, "metadata": metadata})
    made.pop("status", None)
    return made


def _sorted(made: Any) -> Any:
    if isinstance(made, Mapping):
        return {key: _sorted(made[key]) for key in sorted(made)}
    return [_sorted(each) for each in made] if isinstance(made, list) else made


def _hidden(secret: Object, wanted: Object) -> Object:
    """Return a Secret in which every value says only whether it is the wanted one."""
    right = wanted.get("data", {})
    data = {
        key: "(not shown)" if value == right.get(key) else "(not shown, another value)"
        for key, value in (secret.get("data") or {}).items()
    }
    metadata = {**secret["metadata"]}
    # Somebody may have noted the whole Secret there.
    metadata["annotations"] = {k: v for k, v in (metadata.get("annotations") or {}).items() if k.startswith(_OURS)}
    return {**secret, "metadata": metadata, "data": data}
