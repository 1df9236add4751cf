"""The settings of the objects that follow from a configuration."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from deploy.kubernetes.errors import DeployError
from deploy.kubernetes.needs import egress, references, written
from deploy.kubernetes.settings import CONFIG, Settings
from exporter.config.load import Loaded
from exporter.config.sections.discover import DiscoverConfig
from rules.alerts.rule_groups import groups
from rules.render.prometheus import rule_file

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
_KEY: Final = re.compile(r"[-._a-zA-Z0-9]+")
_LARGEST: Final = 1_000_000
"""Most bytes of configuration in a ConfigMap; its metadata counts towards the limit of 1 MiB too."""
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})
"""Hosts that are the pod itself."""


def settings_of(loaded: Loaded, profile: str | None = None, **choices: Any) -> Settings:
    """Return the settings for a configuration.

    Parameters
    ----------
    loaded : Loaded
        The configuration and its files.
    profile : str, optional
        Profile that it was loaded with.
    **choices
        Fields of Settings that are not in a configuration: name, namespace, image, shards, schedule, …;
        `secret` names an existing Secret.

    Raises
    ------
    DeployError
        Something in the configuration does not work in a pod.
    """
    config = loaded.config
    for what in ("name", "namespace"):
        if what in choices and not _NAME.fullmatch(choices[what]):
            raise DeployError(
                f"--{what} {choices[what]!r} is not a valid name for Kubernetes: use at most 40 lower-case letters, "
                "digits and -, with a letter or digit at both ends"
            )
    host, _, port = config.web.listen.rpartition(":")
    if host in LOOPBACK:
        raise DeployError(
            f"web.listen: {config.web.listen} is reachable only inside the pod, but probes and Prometheus connect from "
            f"outside; write 0.0.0.0:{port}, for example in a profile"
        )
    if hasattr(config.notify.addresses.get("slack"), "get_secret_value"):
        raise DeployError(
            "slack_webhook_url: the secret is in the file itself, and a ConfigMap is not secret; "
            "write the configuration with jobs: and notify: {slack: {env: SLACK_WEBHOOK_URL}}"
        )
    folders = written(config)
    read = references(config)
    chosen = Settings(
        config=_files(loaded),
        config_file=loaded.files[0].name,
        profile=profile or "",
        # The port, its TLS and its users are the only things that a reload does not change.
        restart_on=hashlib.sha256(config.web.model_dump_json().encode()).hexdigest()[:12],
        port=int(port),
        shards=config.train.shards,
        lease="" if config.leader is None else config.leader.lease or "",
        discover=_declaring(config.discover),
        discover_namespaces=() if config.discover is None else config.discover.namespaces,
        https=config.web.tls is not None,
        client_certificates=config.web.tls is not None and config.web.tls.client_ca_file is not None,
        secret_env=tuple(secret.env for secret in read.values() if secret.env is not None),
        secret_files=tuple(str(secret.file) for secret in read.values() if secret.file is not None),
        keep_state=any(place != "models.path" for place in folders),
        models_path=folders.get("models.path", ""),
        train=config.models is not None,
        egress=egress(config),
        scrape_job=config.alerting.health.scrape_job,
        monitor_labels=config.alerting.rule_labels,
        rules={group.slug: rule_file(group) for group in groups(config)},
    )
    made = replace(chosen, **choices)
    if config.leader is not None and (made.sharded or config.leader.lease is None):
        why = "several shards" if made.sharded else "a file: use leader.lease"
        raise DeployError(
            f"leader: the pods choose a leader by a Lease, without --shards, and this configuration has {why}"
        )
    shared, models = folders.get("state.shared", ""), made.models_path
    if made.sharded and shared and not (models and shared.startswith(f"{models}/")):
        there = (
            f"write {models}/.state, on the volume of models.path, which" if models else "that of models.path is what"
        )
        raise DeployError(
            f"state.shared: {shared} would be on each pod's own volume, where no other replica finds it; "
            f"{there} all replicas mount"
        )
    return replace(made, make_secret=False) if "secret" in choices else replace(made, secret=made.name)


def _declaring(discover: DiscoverConfig | None) -> tuple[str, ...]:
    """Return the plurals of the objects in which teams declare jobs."""
    if discover is None:
        return ()
    read = {"configmaps": discover.config_maps is not None, "prometheusrules": discover.reads_rules}
    return tuple(plural for plural, wanted in read.items() if wanted)


def _files(loaded: Loaded) -> dict[str, str]:
    files = {}
    for path in loaded.files:
        if not _KEY.fullmatch(path.name):
            raise DeployError(f"{path}: a ConfigMap's file has only letters, digits, '-', '_' and '.' in its name")
        files[path.name] = path.read_text(encoding="utf-8-sig")
    if (incidents := loaded.config.train.incidents) is not None:
        files[incidents.name] = _incidents(incidents, loaded.files[0].parent)
    if (size := sum(len(text.encode()) for text in files.values())) > _LARGEST:
        raise DeployError(f"{loaded.files[0]}: {size} bytes are more than a ConfigMap holds ({_LARGEST}); split it")
    return files


def _incidents(path: Path, folder: Path) -> str:
    """Return the file of labelled incidents, which becomes part of the ConfigMap."""
    if path.parent != Path(CONFIG) or not _KEY.fullmatch(path.name):
        raise DeployError(
            f"train.incidents: {path} is not in the pod; write {CONFIG}/{path.name}, and keep the file itself next to "
            "the configuration: it goes into the ConfigMap with it"
        )
    try:
        return (folder / path.name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DeployError(
            f"train.incidents: {folder / path.name}, which goes into the ConfigMap, cannot be read: "
            f"{type(error).__name__}"
        ) from None
