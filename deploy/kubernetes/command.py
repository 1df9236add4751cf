"""`anomaly-exporter deploy`: print the objects, compare them with a cluster, bring it up to date, or clean up."""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from deploy.helm.chart import overrides
from deploy.kubernetes import plan
from deploy.kubernetes.apply import apply, changes, delete
from deploy.kubernetes.cluster import Cluster
from deploy.kubernetes.errors import DeployError
from deploy.kubernetes.manifests import documents
from deploy.kubernetes.objects import objects
from deploy.kubernetes.rbac import rbac
from deploy.kubernetes.settings import Settings
from exporter.config.environment import PREFIX
from exporter.config.load import Loaded, load

__all__ = ["DeployError", "Mode", "Options", "run"]

Mode = Literal["dry-run", "apply", "diff", "delete", "rbac", "values"]
DIFFERENT = 3
"""Exit code of --diff when something would change."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command was called with.

    Parameters
    ----------
    config : Path
    mode : str
    profile, context : str, optional
    secret_folder : Path, optional
        Holds the values of the Secret in files named as its keys.
    choices : mapping
        Fields of Settings; those that are None keep their default.
    """

    config: Path
    mode: Mode
    profile: str | None = None
    context: str | None = None
    secret_folder: Path | None = None
    choices: Mapping[str, Any] = field(default_factory=dict)


def run(options: Options, environ: Mapping[str, str] = os.environ) -> int:
    """Do what the command was called for and return its exit code. Raises ConfigError, DeployError."""
    # What is set here is not set in the pod: the configuration is what the files say.
    loaded = load(options.config, options.profile, {})
    chosen = {name: value for name, value in options.choices.items() if value is not None}
    settings = plan.settings_of(loaded, options.profile, **chosen)
    if options.mode == "dry-run":
        sys.stdout.write(_explained(settings) + documents(objects(settings)))
    elif options.mode == "rbac":
        sys.stdout.write(documents(rbac(settings)))
    elif options.mode == "values":
        sys.stdout.write(overrides(settings))
    elif options.mode == "diff":
        lines = list(changes(settings, Cluster.connect(options.context), options.secret_folder))
        sys.stdout.writelines(f"{line}\n" for line in lines)
        sys.stderr.writelines(f"note: {note}\n" for note in notes(loaded, settings, environ))
        return DIFFERENT if lines else 0
    elif options.mode == "apply":
        _apply(settings, Cluster.connect(options.context), options.secret_folder)
    else:
        _delete(settings, Cluster.connect(options.context))
    if options.mode in {"dry-run", "apply", "values"}:
        sys.stderr.writelines(f"note: {note}\n" for note in notes(loaded, settings, environ))
    return 0


def _explained(settings: Settings) -> str:
    lines = ["Made by anomaly-exporter deploy --dry-run; the rights to apply it: --rbac."]
    if keys := [*settings.secret_env, *(file.rpartition("/")[2] for file in settings.secret_files)]:
        lines.append(f"The Secret {settings.secret} must have these keys: {', '.join(keys)}. Values are never printed.")
    return "".join(f"# {line}\n" for line in lines)


def _apply(settings: Settings, cluster: Cluster, folder: Path | None) -> None:
    done = []
    for outcome, made in apply(settings, cluster, folder):
        done.append((outcome, made["kind"]))
        if outcome != "unchanged":
            sys.stdout.write(f"{outcome} {made['kind']} {made['metadata']['name']}\n")
    unchanged = sum(outcome == "unchanged" for outcome, _ in done)
    sys.stdout.write(f"{settings.namespace}: {len(done)} objects, {unchanged} of them unchanged\n")
    if ("updated", "Secret") in done and settings.secret_env:
        what = "statefulset" if settings.sharded else "deployment"
        command = f"kubectl -n {settings.namespace} rollout restart {what}/{settings.name}"
        sys.stderr.write(f"note: the Secret has changed, and running pods keep their environment: {command}\n")


def _delete(settings: Settings, cluster: Cluster) -> None:
    kept = []
    for outcome, made in delete(settings, cluster):
        sys.stdout.write(f"{outcome} {made['kind']} {made['metadata']['name']}\n")
        kept += [made["metadata"]["name"]] if outcome == "kept" else []
    if kept:
        command = f"kubectl -n {settings.namespace} delete pvc {' '.join(kept)}"
        sys.stderr.write(f"note: volume claims hold models and history, and are left: {command}\n")
    sys.stderr.write(f"note: the Namespace is left: kubectl delete namespace {settings.namespace}\n")


def notes(loaded: Loaded, settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    """Say what is allowed and may surprise."""
    config = loaded.config
    yield from loaded.notes
    if urlsplit(config.prometheus.url).hostname in plan.LOOPBACK:
        yield f"prometheus.url: {config.prometheus.url} is the pod itself; name the source as pods do, in a profile"
    if config.state is None:
        yield "state: there is none, so every restart of a pod begins with a warm-up and forgets open incidents"
    if config.web.users and not settings.scrape_secret:
        yield "web.users: Prometheus needs a login too; name a Secret with username and password by --scrape-secret"
    if settings.client_certificates:
        yield "web.tls.client_ca_file: the ServiceMonitor shows no certificate; write a scrape job with one"
    if settings.sharded and settings.models_path:
        yield "models.path: all replicas share one volume, which needs a storage class with ReadWriteMany"
    if set_here := sorted(name for name in environ if name.startswith(PREFIX)):
        yield f"{', '.join(set_here)}: set here, and not carried into the pods; write it into a profile"
