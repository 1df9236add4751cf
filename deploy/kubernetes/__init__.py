"""Kubernetes objects built from a configuration, and how they are applied to a cluster and deleted."""

from deploy.kubernetes.client import (
    create_or_update,
    create_or_update_configmap,
    create_or_update_cronjob,
    create_or_update_secret,
)
from deploy.kubernetes.cluster import Cluster
from deploy.kubernetes.errors import DeployError
from deploy.kubernetes.objects import objects
from deploy.kubernetes.plan import settings_of
from deploy.kubernetes.settings import Settings

__all__ = [
    "Cluster",
    "DeployError",
    "Settings",
    "create_or_update",
    "create_or_update_configmap",
    "create_or_update_cronjob",
    "create_or_update_secret",
    "objects",
    "settings_of",
]
