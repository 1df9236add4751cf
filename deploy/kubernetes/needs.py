"""Requirements of a configuration: secrets, files, writable folders, network egress."""

import os.path
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel

from deploy.kubernetes.errors import DeployError
from deploy.kubernetes.settings import DATA
from exporter.config.check import secrets
from exporter.config.errors import dotted
from exporter.config.secrets import Secret
from exporter.config.sections.root import Config

_PORTS: Final = {"http": 80, "https": 443}
_SYSTEM: Final = frozenset(
    map(PurePosixPath, ("/", "/bin", "/dev", "/etc", "/lib", "/opt", "/proc", "/run", "/sys", "/tmp", "/usr", "/var"))  # noqa: S108 - a volume mounted there would hide the system
)


def references(config: Config) -> dict[str, Secret]:
    """Return the secrets that the exporter reads, by their key in the Secret.

    TLS certificates and keys are included. Secrets of `alerting` are for Alertmanager and are not.

    Raises
    ------
    DeployError
        Two of them would have the same key, or a file is in a folder where no volume can be mounted.
    """
    found: dict[str, Secret] = {}
    for place, secret in (*secrets(config, ()), *_certificates(config)):
        if place[0] == "alerting":
            continue
        key = secret.env if secret.env is not None else _file_key(secret, dotted(place))
        if found.setdefault(key, secret) != secret:
            raise DeployError(
                f"{dotted(place)}: {secret} and {found[key]} would both be the key {key} of the Secret; "
                "give one of them another name"
            )
    return found


def _certificates(part: object, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Secret]]:
    """Yield the files of certificates and keys; they are mounted like secrets."""
    if isinstance(part, BaseModel):
        for name in type(part).model_fields:
            value = getattr(part, name)
            if isinstance(value, Path) and name.endswith("_file"):
                yield (*place, name), Secret(file=value)
            else:
                yield from _certificates(value, (*place, name))


def _file_key(secret: Secret, place: str) -> str:
    assert secret.file is not None
    path = PurePosixPath(secret.file)
    folder = path.parent
    if not path.is_absolute() or folder in _SYSTEM or ".." in path.parts:
        raise DeployError(
            f"{place}: {path} is mounted from a Secret, so it must lie in a folder of its own; "
            f"write for example /run/secrets/anomaly-exporter/{path.name}"
        )
    if folder.is_relative_to(DATA):
        raise DeployError(f"{place}: {path} lies in the folder of the data, {DATA}; secrets need a folder of their own")
    return path.name


def written(config: Config) -> dict[str, str]:
    """Return the absolute paths that the pods write to, by key of the configuration. Raises DeployError."""
    wanted = {
        "models.path": config.models.path if config.models else None,
        "state.path": config.state.path if config.state else None,
        "state.shared": config.state.shared if config.state else None,
        "audit.path": config.audit.path if config.audit else None,
        "report.path": config.report.path if config.report else None,
    }
    return {place: _within(place, str(path)) for place, path in wanted.items() if path is not None}


def _within(place: str, path: str) -> str:
    whole = os.path.normpath(f"{DATA}/{path}" if not path.startswith("/") else path)
    if not whole.startswith(f"{DATA}/"):
        raise DeployError(
            f"{place}: {path} cannot be written in the pod, where only {DATA} can; "
            "make it relative or put it there, for example in a profile"
        )
    return whole


def egress(config: Config) -> tuple[Mapping[str, Any], ...]:
    """Return the addresses that the pods may connect to, as NetworkPolicy rules."""
    train = config.train
    made = [_to(config.prometheus.url)]
    if config.prometheus.oauth2:
        made.append(_to(config.prometheus.oauth2.token_url))
    if config.prometheus.sigv4 or config.prometheus.google:
        made.append(_port(443))  # where their tokens come from is known to their libraries
    notify = config.notify
    if notify.addresses:
        made.append(_port(443))  # the address is in a secret, so only the port is known
    if notify.slack_app:
        made.append(_to(notify.slack_app.url))
        made.append(_port(443))  # of the address that a picture is uploaded to
    if config.leader is not None or config.discover is not None:
        made += [_port(443), _port(6443)]  # the API of Kubernetes, before and behind its Service
    made += [_to(each.url) for each in config.remote_write]
    if notify.email:
        made.append(_to(f"smtp://{notify.email.smarthost}"))
    if config.models and config.models.url:
        endpoints = list(_endpoints(config.models.options))
        made += map(_to, endpoints) if endpoints else [_port(443)]
    if config.models:
        made += [_to(endpoint.url) for endpoint in (train.alertmanager, train.pushgateway) if endpoint]
        made += [_to(train.scheduler)] if train.scheduler else []
    elif train.alertmanager and config.web.ui:
        made.append(_to(train.alertmanager.url))  # the pages ask it about alerts, and silence them
    return tuple({str(rule): rule for rule in made}.values())


def _endpoints(options: Any) -> Iterator[str]:
    """Yield the endpoint URLs in the options of an object store, at any depth."""
    for name, value in options.items() if isinstance(options, dict) else ():
        if name == "endpoint_url" and isinstance(value, str):
            yield value
        else:
            yield from _endpoints(value)


def _to(url: str) -> Mapping[str, Any]:
    """Return a rule for one URL. A host name outside the cluster cannot be selected, so only its port is restricted."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 443)
    try:
        address = ip_address(host)
    except ValueError:
        pass
    else:
        return {"to": [{"ipBlock": {"cidr": f"{address}/{address.max_prefixlen}"}}], **_port(port)}
    labels = host.split(".")
    if labels[2:] in (["svc"], ["svc", "cluster", "local"]):
        # A policy applies to the port of the pod, which may differ from that of the Service.
        namespace = {"kubernetes.io/metadata.name": labels[1]}
        return {"to": [{"namespaceSelector": {"matchLabels": namespace}}], **_port(port)}
    return _port(port)


def _port(port: int) -> dict[str, Any]:
    return {"ports": [{"port": port, "protocol": "TCP"}]}
