"""All objects of a configuration together: show what would change in a cluster, apply them, delete them."""

from collections.abc import Iterator
from pathlib import Path

from deploy.kubernetes.client import Change, await_gone, create_or_update, is_deleted, rehearse
from deploy.kubernetes.cluster import Cluster
from deploy.kubernetes.compare import difference, marked, require_ours
from deploy.kubernetes.errors import Conflict, DeployError, NoRehearsal, deleting
from deploy.kubernetes.parts import KEPT, Object
from deploy.kubernetes.settings import Settings
from deploy.kubernetes.survey import Survey, labelled, survey


def changes(settings: Settings, cluster: Cluster, folder: Path | None = None) -> Iterator[str]:
    """Yield a diff of what `apply` would change, as the cluster itself answers it. Raises DeployError."""
    found = survey(settings, cluster, folder)
    for each in found.stale:
        yield f"--- cluster {each['kind']} {each['metadata']['name']}: no longer wanted, would be deleted"
    for each in found.deleting:
        yield f"--- cluster {deleting(each)}; it would be made anew"
    for _, change in _rehearsed(found, cluster):
        if change.outcome != "unchanged":
            yield from difference(change.before, change.after)


def apply(settings: Settings, cluster: Cluster, folder: Path | None = None) -> Iterator[tuple[str, Object]]:
    """Create, update and delete objects; yield each with what was done. Raises DeployError.

    The cluster first answers all of it as a rehearsal, with its validation, admission, quota and rights, so that what
    it refuses is known before anything is changed. In a namespace that is not there yet nothing can be rehearsed, and
    nothing can be lost.
    """
    found = survey(settings, cluster, folder)
    if found.deleting:
        await_gone(found.deleting, cluster)
        found = survey(settings, cluster, folder)
    rehearsed = list(_rehearsed(found, cluster))
    for each in found.stale:
        remove(each, cluster, dry_run=True)
    for each in found.stale:  # first: a Deployment and the StatefulSet that follows it would use one volume
        yield remove(each, cluster), each
    for each in found.unused:
        yield "unused", each
    for wanted, change in rehearsed:
        yield change.outcome if change.outcome == "unchanged" else create_or_update(wanted, cluster), wanted


def _rehearsed(found: Survey, cluster: Cluster) -> Iterator[tuple[Object, Change]]:
    """Yield every wanted object that is not being deleted with what would become of it. Raises DeployError."""
    deleted = {(each["kind"], each["metadata"]["name"]) for each in found.deleting}
    for wanted in found.wanted:
        if (wanted["kind"], wanted["metadata"]["name"]) in deleted:
            continue
        if found.new_namespace and wanted["kind"] != "Namespace":
            yield wanted, Change("created", None, marked(wanted))
        else:
            yield wanted, rehearse(wanted, cluster)


def delete(settings: Settings, cluster: Cluster) -> Iterator[tuple[str, Object]]:
    """Delete all our objects except volume claims and Namespace; yield each with what was done. Raises DeployError."""
    found = list(reversed(list(labelled(settings, cluster))))
    for each in found:
        if each["kind"] not in KEPT:
            remove(each, cluster, dry_run=True)
    for each in found:
        yield ("kept" if each["kind"] in KEPT else remove(each, cluster)), each


def remove(found: Object, cluster: Cluster, *, dry_run: bool = False) -> str:
    """Delete one object that was read before, and return `deleted`, or `deleting` while finalizers keep it.

    Raises DeployError. With `dry_run` nothing is changed.
    """
    require_ours(found)
    if is_deleted(found):
        return "deleting"
    try:
        answer = cluster.delete(found, dry_run=dry_run)
    except NoRehearsal:
        return "deleted"
    except Conflict:
        metadata = found["metadata"]
        raise DeployError(
            f"{found['kind']} {metadata['name']}: replaced by another client before it could be deleted; try again"
        ) from None
    return "deleting" if (answer.get("metadata") or {}).get("finalizers") else "deleted"
