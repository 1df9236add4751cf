"""Comparison of a wanted object with the one in the cluster, which has many more fields."""

import hashlib
import json
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
"""Annotation with a digest of the wanted object: it changes when a field is removed."""
_ALLOCATED: Final = frozenset({"Service", "PersistentVolumeClaim"})
"""Kinds whose spec the cluster completes with fields that must be kept."""
_QUANTITIES: Final = frozenset({"cpu", "memory", "storage", "sizeLimit"})


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
    """Return an object as it is sent: values of a Secret encoded, the digest in an annotation."""
    made = {key: value for key, value in wanted.items() if key != "stringData"}
    if "stringData" in wanted:
        made["data"] = {key: b64encode(value.encode()).decode() for key, value in wanted["stringData"].items()}
    # Secrets could be guessed from a digest of them.
    public = {key: value for key, value in wanted.items() if key != "stringData"}
    digest = hashlib.sha256(json.dumps(public, sort_keys=True).encode()).hexdigest()[:16]
    metadata = wanted["metadata"]
    made["metadata"] = {**metadata, "annotations": {**metadata.get("annotations", {}), APPLIED: digest}}
    return made


def same(wanted: Object, found: Object) -> bool:
    """Return whether the object in the cluster is as wanted (`marked`), without fields of an earlier version."""
    return _within(wanted, found) and (
        "data" not in wanted or wanted["data"].keys() == (found.get("data") or {}).keys()
    )


def _within(wanted: Any, found: Any, key: str = "") -> bool:
    if wanted in ([], {}, "") and found is None:  # the cluster omits empty fields
        return True
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(_within(value, found.get(key), key) for key, value in wanted.items())
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(wanted) == len(found)
            and all(_within(one, other) for one, other in zip(wanted, found, strict=True))
        )
    return bool(wanted == found) or (key in _QUANTITIES and _quantity(wanted) == _quantity(found))


def _quantity(written: Any) -> Any:
    from kubernetes.utils.quantity import parse_quantity

    try:
        return parse_quantity(written)  # type: ignore[no-untyped-call]  # the package has no types
    except ValueError:
        return written


def successor(wanted: Object, found: Object) -> Object:
    """Return the replacement of `found`: the wanted object (`marked`) with the metadata that others have added."""
    made = {**found, **wanted}
    if wanted["kind"] in _ALLOCATED:
        made["spec"] = _over(found["spec"], wanted["spec"])
    there = {key: value for key, value in found["metadata"].items() if key != "managedFields"}
    made["metadata"] = {**there, **wanted["metadata"]}
    for what in ("labels", "annotations"):
        made["metadata"][what] = {**(there.get(what) or {}), **wanted["metadata"].get(what, {})}
    made.pop("status", None)
    return made


def _over(base: Any, top: Any) -> Any:
    if not (isinstance(base, Mapping) and isinstance(top, Mapping)):
        return top
    return {**base, **{key: _over(base.get(key), value) for key, value in top.items()}}


def difference(wanted: Object, found: Object | None) -> Iterator[str]:
    """Yield the lines of a unified diff from `found` to `wanted` (`marked`); of a Secret only the keys."""
    kind, name = wanted["kind"], wanted["metadata"]["name"]
    if found is None:
        before = ""
    else:
        seen = _as_seen(wanted, found)
        before = text(_hidden(seen, wanted) if kind == "Secret" else seen)
    after = text(_hidden(wanted, wanted) if kind == "Secret" else wanted)
    yield from (
        masked(line)
        for line in unified_diff(
            before.splitlines(), after.splitlines(), f"cluster {kind} {name}", f"wanted {kind} {name}", lineterm=""
        )
    )


def _as_seen(wanted: Any, found: Any, key: str = "") -> Any:
    """Return the comparable part of the object in the cluster: the wanted fields, and all of its data."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        keys = found if key == "data" else [name for name in wanted if name in found]
        return {name: _as_seen(wanted.get(name), found[name], name) for name in keys}
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [_as_seen(one, other) for one, other in zip(wanted, found, strict=True)]
    return wanted if key in _QUANTITIES and _quantity(wanted) == _quantity(found) else found


def _hidden(secret: Object, wanted: Object) -> Object:
    """Return a Secret in which every value says only whether it is the wanted one."""
    right = wanted.get("data", {})
    data = {
        key: "(not shown)" if value == right.get(key) else "(not shown, another value)"
        for key, value in (secret.get("data") or {}).items()
    }
    return {**secret, "data": data}
