"""Errors of deploying, and what the API server says as one sentence."""

import re
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from deploy.kubernetes.parts import KINDS, OPERATOR, Object
from exporter.json_values import from_json
from exporter.redact import masked

OLDEST: Final = "1.27"
"""The oldest Kubernetes that has all that the objects need."""
_LACKS_RIGHTS: Final = re.compile(r"\bcannot (get|list|watch|create|update|patch|delete)\b")
_LONGEST: Final = 500


class DeployError(Exception):
    """Deploying has stopped; the message says why and what to do."""


class Conflict(Exception):
    """Another client has changed or created the object since it was read."""


class Forbidden(DeployError):
    """The cluster refuses the request for lack of privileges."""


class NoRehearsal(DeployError):
    """An admission webhook of the cluster cannot be asked with `dryRun`."""


def refused(what: str, error: Any) -> DeployError:
    """Return the error for any other answer of the cluster."""
    said = message_of(error)
    kind = NoRehearsal if "does not support dry run" in said else DeployError
    return kind(f"{what}: the cluster answered {error.status}: {said}")


def not_found(host: str, kind: str, what: str, error: Any) -> str:
    """Return the message for a 404 about a list or a write, for which it means no missing object."""
    if what != kind and of_kubernetes(error):
        return f"{what}: {message_of(error)}; is there such a namespace?"
    if not KINDS[kind].group:  # every Kubernetes has these kinds
        return no_kubernetes(host, message_of(error))
    if kind in OPERATOR:
        return (
            f"the cluster does not know {kind} ({KINDS[kind].api_version}): install the Prometheus operator, "
            "or leave out its objects with --no-operator"
        )
    return f"the cluster does not know {kind} ({KINDS[kind].api_version}): it is older than Kubernetes {OLDEST}"


def no_kubernetes(host: str, said: str) -> str:
    """Return the message for a server that is something else."""
    return (
        f"what answers at {host} is no Kubernetes API server ({said}): is its address in the kubeconfig right, and is "
        "there a proxy or login in between?"
    )


def of_kubernetes(error: Any) -> bool:
    """Return whether a refusal has the form of Kubernetes: a 404 then is about an object, and not about the path."""
    return _status(error) is not None


def message_of(error: Any) -> str:
    """Return the message of the API server, or of what is in front of it, in one line and without secrets."""
    text = error.body.decode(errors="replace") if isinstance(error.body, bytes) else str(error.body or "")
    with suppress(TypeError, ValueError, KeyError):
        text = from_json(text)["message"]
    if not text or str(text).lstrip().startswith("<"):  # a page for people says nothing in one line
        text = error.reason or "no reason given"
    return _line(text)


def login(host: str, said: str) -> str:
    """Return the message for a request without a login that counts."""
    return f"{host} does not accept the login ({said}): log in to the cluster; does kubectl get pods work?"


def forbidden(host: str, kind: str, name: str, what: str, said: str) -> DeployError:
    """Return the error for a 403: without a login, for lack of privileges, or for another reason, such as a quota."""
    if "system:anonymous" in said:
        return DeployError(login(host, said))
    advice = ""
    if _LACKS_RIGHTS.search(said):
        advice = "; anomaly-exporter deploy --rbac prints the privileges it needs"
        if kind == "Namespace":
            advice = f"; an administrator must create it first: kubectl create namespace {name}"
    return Forbidden(f"{what}: the cluster refuses it (403): {said}{advice}")


def invalid(kind: str, name: str, namespace: str, message: str) -> str:
    """Return the message for an object that the cluster rejects (422)."""
    if "immutable" in message or "Forbidden: updates to" in message:
        orphan = " --cascade=orphan" if kind == "StatefulSet" else ""
        return (
            f"{kind} {name}: what has changed can never be changed on an object that exists ({message}); save what it "
            f"holds, delete it and apply again: kubectl -n {namespace} delete {kind.lower()}/{name}{orphan}"
        )
    return f"{kind} {name}: the cluster refuses it (422): {message}"


def unreachable(host: str, error: Exception) -> str:
    """Return the message for a request without an answer."""
    reason = getattr(error, "reason", None) or error
    inner = next((each for each in (*reason.args, reason) if isinstance(each, ssl.SSLError)), None)
    if isinstance(inner, ssl.SSLCertVerificationError):
        said = f"{host}: its certificate is refused: {inner.verify_message}"
        return masked(f"{said}; check certificate-authority in the kubeconfig")
    if inner is not None:
        said = _line(inner.reason or inner)
        return masked(f"{host}: no TLS connection ({said}); is it http or https, and does kubectl get pods work?")
    return masked(f"{host} cannot be reached: {type(reason).__name__}; does kubectl get pods work?")


def deleting(found: Object) -> str:
    """Return which object is being deleted, and what it still waits for."""
    finalizers = ", ".join(found["metadata"].get("finalizers") or ()) or "none"
    return f"{found['kind']} {found['metadata']['name']} is being deleted (finalizers: {finalizers})"


def _status(error: Any) -> Mapping[str, Any] | None:
    """Return the Status of Kubernetes that an error came with, None if it came from something else."""
    try:
        body = from_json(error.body)
    except (TypeError, ValueError):
        return None
    return body if isinstance(body, dict) and body.get("kind") == "Status" else None


def _line(text: object) -> str:
    return masked(" ".join(str(text).split()))[:_LONGEST]
