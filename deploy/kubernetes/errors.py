"""Errors of deploying, and what the API server says as one sentence."""

import json
from typing import Any

from deploy.kubernetes.parts import KINDS, OPERATOR
from exporter.redact import masked


class DeployError(Exception):
    """Deploying has stopped; the message says why and what to do."""


class Conflict(Exception):
    """Another client has changed or created the object since it was read."""


class Forbidden(DeployError):
    """The cluster refuses the request for lack of privileges."""


def unknown_kind(kind: str) -> str:
    """Return the message for a kind that the cluster does not have."""
    if kind in OPERATOR:
        return (
            f"the cluster does not know {kind} ({KINDS[kind].api_version}): install the Prometheus operator, "
            "or leave out its objects with --no-operator"
        )
    return f"the cluster does not know {kind} ({KINDS[kind].api_version}): it is older than Kubernetes 1.25"


def message_of(error: Any) -> str:
    """Return the message of the API server, in one line and without secrets."""
    try:
        text = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        text = error.reason or "no reason given"
    return masked(" ".join(str(text).split()))[:500]


def invalid(kind: str, name: str, namespace: str, message: str) -> str:
    """Return the message for an object that the cluster rejects (422)."""
    if "immutable" in message or "Forbidden: updates to" in message:
        orphan = " --cascade=orphan" if kind == "StatefulSet" else ""
        return (
            f"{kind} {name}: what has changed can never be changed on an object that exists ({message}); save what it "
            f"holds, delete it and apply again: kubectl -n {namespace} delete {kind.lower()}/{name}{orphan}"
        )
    return f"{kind} {name}: the cluster refuses it (422): {message}"
