"""Create or update single objects: safe to repeat, and objects of other owners are never changed."""

import time
from collections.abc import Mapping
from typing import Final, Literal

from deploy.kubernetes.cluster import Cluster
from deploy.kubernetes.compare import marked, require_ours, same, successor
from deploy.kubernetes.errors import Conflict, DeployError
from deploy.kubernetes.objects import config_map, secret
from deploy.kubernetes.parts import Object
from deploy.kubernetes.settings import Settings
from deploy.kubernetes.workloads import cron_job

Outcome = Literal["created", "updated", "unchanged"]
_ATTEMPTS: Final = 6
_PAUSE: Final = 0.05
"""Seconds before the second attempt; doubled each time."""


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

    Nothing is sent if the object in the cluster is already as wanted. If another client changes it at the same time,
    it is read and compared again.

    Parameters
    ----------
    wanted : dict
        The object, of a kind in `parts.KINDS`, with our labels.
    cluster : Cluster, optional
        Default: the one that kubectl would use.

    Raises
    ------
    DeployError
        The object has another owner, the change is impossible, or the cluster cannot be reached or refuses it.
    """
    require_ours(wanted)
    cluster = cluster or Cluster.connect()
    sent = marked(wanted)
    kind, metadata = wanted["kind"], wanted["metadata"]
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE * 2**attempt)
        found = cluster.get(kind, metadata["name"], metadata.get("namespace", ""))
        try:
            if found is None:
                cluster.create(sent)
                return "created"
            require_ours(found)
            if same(sent, found):
                return "unchanged"
            cluster.replace(successor(sent, found))
        except Conflict:
            continue
        return "updated"
    raise DeployError(
        f"{kind} {metadata['name']}: changed by another client at every one of {_ATTEMPTS} attempts; "
        "find out who writes it (kubectl get -o yaml --show-managed-fields), then try again"
    )
