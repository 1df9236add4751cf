"""What `anomaly-exporter deploy` does: print the objects, compare them with a cluster, apply or delete them."""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from deploy.helm.chart import overrides
from deploy.kubernetes.apply import apply, changes, delete
from deploy.kubernetes.cluster import Cluster
from deploy.kubernetes.errors import deleting
from deploy.kubernetes.manifests import documents
from deploy.kubernetes.objects import Object, objects
from deploy.kubernetes.plan import LOOPBACK, settings_of
from deploy.kubernetes.rbac import rbac
from deploy.kubernetes.settings import Settings
from exporter.config.environment import PREFIX
from exporter.config.load import Loaded, load

DIFFERENT: Final = 3
"""Exit code of --diff when something would change."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A configuration as read, and the settings of its objects."""

    loaded: Loaded
    settings: Settings


def plan(config: Path, profile: str | None = None, **choices: Any) -> Deployment:
    """Read a configuration and choose the settings of its objects. Raises ConfigError, DeployError.

    Parameters
    ----------
    config, profile : Path, str or None
        Configuration file and profile.
    **choices
        Fields of Settings; None keeps the default.
    """
    # Environment variables set here are not set in the pod: only the files count.
    loaded = load(config, profile, {})
    chosen = {name: value for name, value in choices.items() if value is not None}
    return Deployment(loaded, settings_of(loaded, profile, **chosen))


def print_objects(deployment: Deployment) -> None:
    """Print all objects as YAML."""
    sys.stdout.write(_explained(deployment.settings) + documents(objects(deployment.settings)))
    _print_notes(deployment)


def print_rbac(deployment: Deployment) -> None:
    """Print the account, Role and RoleBinding to deploy with."""
    sys.stdout.write(documents(rbac(deployment.settings)))


def print_values(deployment: Deployment) -> None:
    """Print the values of the Helm chart."""
    sys.stdout.write(overrides(deployment.settings))
    _print_notes(deployment)


def print_changes(deployment: Deployment, cluster: Cluster, secret_folder: Path | None = None) -> int:
    """Print what applying would change and return the exit code: 0 if nothing. Raises DeployError."""
    lines = list(changes(deployment.settings, cluster, secret_folder))
    sys.stdout.writelines(f"{line}\n" for line in lines)
    _print_notes(deployment)
    return DIFFERENT if lines else 0


def apply_objects(deployment: Deployment, cluster: Cluster, secret_folder: Path | None = None) -> None:
    """Create and update the objects; print each that changes. Raises DeployError."""
    settings, done = deployment.settings, []
    for outcome, made in apply(settings, cluster, secret_folder):
        if outcome == "unused":
            _note_unused(settings, made)
            continue
        done.append((outcome, made["kind"]))
        if outcome != "unchanged":
            sys.stdout.write(f"{outcome} {made['kind']} {made['metadata']['name']}\n")
    unchanged = sum(outcome == "unchanged" for outcome, _ in done)
    sys.stdout.write(f"{settings.namespace}: {len(done)} objects, {unchanged} of them unchanged\n")
    if ("updated", "Secret") in done and settings.secret_env:
        what = "statefulset" if settings.sharded else "deployment"
        command = f"kubectl -n {settings.namespace} rollout restart {what}/{settings.name}"
        _note(f"the Secret has changed, and running pods keep their environment: {command}")
    _print_notes(deployment)


def delete_objects(deployment: Deployment, cluster: Cluster) -> None:
    """Delete the objects except volume claims and namespace. Raises DeployError."""
    settings, kept, key_gone = deployment.settings, [], False
    for outcome, made in delete(settings, cluster):
        sys.stdout.write(f"{outcome} {made['kind']} {made['metadata']['name']}\n")
        kept += [made["metadata"]["name"]] if outcome == "kept" else []
        if outcome == "deleting":
            _note(f"{deleting(made)}; it goes when they are done")
        key_gone |= made["kind"] == "Secret" and settings.models_path != ""
    if kept:
        command = f"kubectl -n {settings.namespace} delete pvc {' '.join(kept)}"
        _note(f"volume claims hold models and history, and are kept: {command}")
        if key_gone:
            _note("the Secret is deleted: the models that are kept can be loaded only with the same key")
    _note(f"the Namespace is kept: kubectl delete namespace {settings.namespace}")


def _note_unused(settings: Settings, made: Object) -> None:
    kind, name = made["kind"], made["metadata"]["name"]
    command = f"kubectl -n {settings.namespace} delete {kind.lower()}/{name}"
    _note(f"{kind} {name} is not used any more, and is kept, since what it holds cannot be made again: {command}")


def _note(text: str) -> None:
    sys.stderr.write(f"note: {text}\n")


def _print_notes(deployment: Deployment) -> None:
    for note in notes(deployment.loaded, deployment.settings, os.environ):
        _note(note)


def _explained(settings: Settings) -> str:
    lines = ["Made by anomaly-exporter deploy --dry-run; the rights to apply it: --rbac."]
    if keys := [*settings.secret_env, *(file.rpartition("/")[2] for file in settings.secret_files)]:
        lines.append(f"The Secret {settings.secret} must have these keys: {', '.join(keys)}. Values are never printed.")
    return "".join(f"# {line}\n" for line in lines)


def notes(loaded: Loaded, settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield what is allowed but may surprise, one sentence each."""
    config = loaded.config
    yield from loaded.notes
    if urlsplit(config.prometheus.url).hostname in LOOPBACK:
        yield f"prometheus.url: {config.prometheus.url} is the pod itself; set the address that pods use, in a profile"
    if config.state is None:
        yield "state: not set, so every restart of a pod starts with a warm-up and forgets open incidents"
    if settings.sharded and config.state is not None and config.state.shared is None:
        where = f"set it to {settings.models_path}/.state" if settings.models_path else "with models.path it can be"
        yield (
            "state.shared: not set, so what was learnt of series that move to another replica, when the number of "
            f"replicas changes, is lost; {where}, on the volume of the models"
        )
    if config.web.users and not settings.scrape_secret:
        yield "web.users: Prometheus needs a login too; name a Secret with username and password by --scrape-secret"
    if settings.client_certificates:
        yield "web.tls.client_ca_file: the ServiceMonitor has no client certificate; write a scrape job with one"
    if settings.discover:
        yield "discover: an administrator lets the exporter read what teams declare: the roles are printed by --rbac"
    if settings.pair:
        yield "leader: both pods share the volumes, which needs a storage class with ReadWriteMany"
    if settings.sharded and settings.models_path:
        yield "models.path: all replicas share one volume, which needs a storage class with ReadWriteMany"
    if set_here := sorted(name for name in environ if name.startswith(PREFIX)):
        yield f"{', '.join(set_here)}: set here but not in the pods; write it into a profile"
