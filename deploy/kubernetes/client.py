"""Create or update single objects: safe to repeat, and objects of other owners are never changed."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from deploy.kubernetes.cluster import Cluster
from deploy.kubernetes.compare import alike, marked, require_ours, successor
from deploy.kubernetes.errors import Conflict, DeployError, NoRehearsal, deleting
from deploy.kubernetes.objects import config_map, secret
from deploy.kubernetes.parts import Object
from deploy.kubernetes.settings import Settings
from deploy.kubernetes.workloads import cron_job

Outcome = Literal["created", "updated", "unchanged"]
_ATTEMPTS: Final = 6
_PAUSE: Final = 0.05
"""Seconds before the second attempt; doubled each time."""
_GONE_WITHIN: Final = 10.0
"""Seconds to wait for an object that is being deleted."""


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one object.

    Parameters
    ----------
    outcome : str
    before, after : object or None
        As it is in the cluster, and as the cluster itself says it will be, with all defaults.
    """

    outcome: Outcome
    before: Object | None
    after: Object


def create_or_update_configmap(settings: Settings, cluster: Cluster | None = None) -> Outcome:
    """Bring the ConfigMap with the configuration up to date. Raises DeployError."""
    return create_or_update(config_map(settings), cluster)


def create_or_update_secret(settings: Settings, values: Mapping[str, str], cluster: Cluster | None = None) -> Outcome:
    """Bring the Secret up to date: it then has exactly these values by key. Raises DeployError."""
    return create_or_update(secret(settings, values), cluster)


def create_or_update_cronjob(settings: Settings, cluster: Cluster | None = None) -> Outcome:
    """Bring the CronJob that trains the models up to date. Raises DeployError."""
    return create_or_update(cron_job(settings), cluster)


def create_or_update(wanted: Object, cluster: Cluster | None = None) -> Outcome:
    """Bring one object up to date.

    The cluster is asked first what would change (`dryRun`): if nothing, nothing is sent. If another client changes the
    object at the same time, it is read and compared again.

    Parameters
    ----------
    wanted : dict
        The object, of a kind in `parts.KINDS`, with our labels.
    cluster : Cluster, optional
        Default: the one that kubectl would use.

    Raises
    ------
    DeployError
        The object has another owner or is being deleted, the change is impossible, or the cluster cannot be reached or
        refuses it.
    """
    return _bring(wanted, cluster or Cluster.connect(), dry_run=False).outcome


def rehearse(wanted: Object, cluster: Cluster) -> Change:
    """Return what `create_or_update` would do, and change nothing. Raises DeployError for whatever stops it."""
    return _bring(wanted, cluster, dry_run=True)


def _bring(wanted: Object, cluster: Cluster, *, dry_run: bool) -> Change:
    require_ours(wanted)
    sent = marked(wanted)
    kind, metadata = wanted["kind"], wanted["metadata"]
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE * 2**attempt)
        found = cluster.get(kind, metadata["name"], metadata.get("namespace", ""))
        try:
            if found is None:
                return Change("created", None, _asked(cluster.create, sent, dry_run=dry_run))
            require_ours(found)
            if is_deleted(found):
                await_gone([found], cluster)
                continue
            replacement = successor(sent, found)
            after = _asked(cluster.replace, replacement, dry_run=True)
            if alike(found, after):
                return Change("unchanged", found, after)
            if not dry_run:
                cluster.replace(replacement)
        except Conflict:
            continue
        return Change("updated", found, after)
    raise DeployError(
        f"{kind} {metadata['name']}: changed by another client at every one of {_ATTEMPTS} attempts; "
        "find out who writes it (kubectl get -o yaml --show-managed-fields), then try again"
    )


def _asked(write: Callable[..., Object], made: Object, *, dry_run: bool) -> Object:
    """Return what the cluster makes of an object; as it is sent where a webhook of the cluster knows no rehearsal."""
    try:
        return write(made, dry_run=dry_run)
    except NoRehearsal:
        return made


def is_deleted(found: Object) -> bool:
    """Return whether an object is being deleted: it is still there, and will be gone whatever is written to it."""
    return bool(found["metadata"].get("deletionTimestamp"))


def await_gone(objects: Sequence[Object], cluster: Cluster) -> None:
    """Wait until objects that are being deleted are gone. Raises DeployError with those that stay."""
    end = time.monotonic() + _GONE_WITHIN
    while objects := [each for each in objects if _still(each, cluster)]:
        if time.monotonic() > end:
            raise DeployError(f"{'; '.join(map(deleting, objects))}; apply again when it is gone")
        time.sleep(_PAUSE * 4)


def _still(found: Object, cluster: Cluster) -> bool:
    metadata = found["metadata"]
    now = cluster.get(found["kind"], metadata["name"], metadata.get("namespace", ""))
    return now is not None and now["metadata"]["uid"] == metadata["uid"]
