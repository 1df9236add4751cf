"""A connection to a cluster: reads and writes objects as dicts; what goes wrong is one sentence."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

import yaml

from deploy.kubernetes.errors import DeployError
from deploy.kubernetes.kinds import KINDS, OPERATOR
from deploy.kubernetes.parts import Object
from exporter.redact import masked

T = TypeVar("T")


_WITHIN: Final = 15.0
"""Seconds for one request."""


class Conflict(Exception):
    """Somebody else has changed or made the object since it was read."""


class Forbidden(DeployError):
    """The cluster does not let us."""


class Cluster:
    """The objects of a cluster.

    Parameters
    ----------
    api : kubernetes.client.ApiClient
        The way in; `connect` finds it as kubectl does.
    """

    def __init__(self, api: Any) -> None:
        kubernetes = _package()
        self._errors: ModuleType = kubernetes.dynamic.exceptions
        # Without discovery: it asks for every group there is, and keeps the answer where others may write.
        self._client = kubernetes.dynamic.DynamicClient(api, discoverer=lambda *_: None)
        self._host: str = api.configuration.host

    @classmethod
    def connect(cls, context: str | None = None) -> "Cluster":
        """Connect as kubectl does, or as the pod that this runs in. Raises DeployError."""
        kubernetes = _package()
        configuration = kubernetes.client.Configuration()
        files = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
        known = any(Path(file).exists() for file in files.split(os.pathsep) if file)
        try:
            if known:
                kubernetes.config.load_kube_config(files, context, client_configuration=configuration)
            elif "KUBERNETES_SERVICE_HOST" in os.environ and context is None:
                kubernetes.config.load_incluster_config(client_configuration=configuration)
            else:
                raise DeployError(f"no cluster is known: there is no file {files}; KUBECONFIG names another")
        except kubernetes.config.ConfigException as error:
            source = files if known else "the account of this pod"
            raise DeployError(masked(f"{source}: {' '.join(str(error).split())}; does kubectl work with it?")) from None
        except (OSError, ValueError, TypeError, LookupError, AttributeError, yaml.YAMLError) as error:
            # What is wrong is not shown: logins stand in such a file.
            raise DeployError(
                f"{files}: is no usable kubeconfig ({type(error).__name__}): does kubectl work?"
            ) from None
        configuration.retries = 0
        return cls(kubernetes.client.ApiClient(configuration))

    def get(self, kind: str, name: str, namespace: str) -> Object | None:
        """Return an object, None when there is none. Raises DeployError."""

        def ask() -> Object | None:
            try:
                found = self._client.get(self._resource(kind), name, self._scope(kind, namespace), **_LIMITS)
            except self._errors.NotFoundError:
                return None
            return _plain(found)

        return self._answer(kind, name, namespace, ask)

    def select(self, kind: str, namespace: str, selector: str) -> list[Object]:
        """Return the objects with the labels of `selector`. Raises DeployError, also when the kind is unknown there."""

        def ask() -> list[Object]:
            try:
                found = self._client.get(
                    self._resource(kind), namespace=self._scope(kind, namespace), label_selector=selector, **_LIMITS
                )
            except self._errors.NotFoundError:
                raise DeployError(_unknown(kind)) from None
            # Items of a list come without their kind.
            identity = {"apiVersion": KINDS[kind].api_version, "kind": kind}
            return [{**identity, **item} for item in _plain(found).get("items") or ()]

        return self._answer(kind, "", namespace, ask)

    def create(self, made: Object) -> None:
        """Create an object. Raises Conflict when there is one already, DeployError."""
        self._write(made, lambda resource, scope: self._client.create(resource, made, scope, **_LIMITS))

    def replace(self, made: Object) -> None:
        """Replace an object, unless it is no longer the one that was read. Raises Conflict, DeployError."""
        self._write(made, lambda resource, scope: self._client.replace(resource, made, None, scope, **_LIMITS))

    def delete(self, found: Object) -> None:
        """Delete the very object that was read, with what belongs to it. Raises Conflict, DeployError."""
        metadata = found["metadata"]
        # Its status may change all the time; what must not be hit is another object of the same name.
        body = {"propagationPolicy": "Background", "preconditions": {"uid": metadata["uid"]}}

        def ask(resource: Any, scope: str | None) -> None:
            try:
                self._client.delete(resource, metadata["name"], scope, body, **_LIMITS)
            except self._errors.NotFoundError:
                return

        self._write(found, ask)

    def _write(self, made: Object, ask: Callable[[Any, str | None], object]) -> None:
        kind, metadata = made["kind"], made["metadata"]
        namespace = metadata.get("namespace", "")
        scope = self._scope(kind, namespace)
        self._answer(kind, metadata["name"], namespace, lambda: ask(self._resource(kind), scope))

    def _resource(self, kind: str) -> Any:
        known = KINDS[kind]
        return _package().dynamic.Resource(
            prefix="apis" if known.group else "api",
            group=known.group,
            api_version=known.api_version.rpartition("/")[2],
            kind=kind,
            namespaced=known.namespaced,
            name=known.plural,
            client=self._client,
        )

    @staticmethod
    def _scope(kind: str, namespace: str) -> str | None:
        return namespace if KINDS[kind].namespaced else None

    def _answer(self, kind: str, name: str, namespace: str, ask: Callable[[], T]) -> T:
        """Return what `ask` returns, with every error of the client as one sentence."""
        from urllib3.exceptions import HTTPError

        errors = self._errors
        what = f"{kind} {name}".rstrip()
        try:
            return ask()
        except errors.ConflictError:
            raise Conflict(what) from None
        except errors.UnauthorizedError:
            raise DeployError(
                f"{self._host} does not know us (401): log in to the cluster again; does kubectl get pods work?"
            ) from None
        except errors.ForbiddenError as error:
            rights = "anomaly-exporter deploy --rbac prints the rights it takes"
            if kind == "Namespace":
                rights = f"somebody who may must make it first: kubectl create namespace {name}"
            raise Forbidden(f"{what}: the cluster does not let us (403): {_message(error)}; {rights}") from None
        except errors.UnprocessibleEntityError as error:
            raise DeployError(_invalid(kind, name, namespace, _message(error))) from None
        except errors.NotFoundError as error:
            raise DeployError(f"{what}: {_message(error)}; is there such a namespace?") from None
        except errors.DynamicApiError as error:
            raise DeployError(f"{what}: the cluster answered {error.status}: {_message(error)}") from None
        except (HTTPError, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise DeployError(
                masked(f"{self._host} cannot be reached: {type(reason).__name__}; does kubectl get pods work?")
            ) from None


_LIMITS: Final[dict[str, Any]] = {"_request_timeout": _WITHIN, "serialize": False}


def _package() -> Any:
    try:
        import kubernetes.client
        import kubernetes.config
        import kubernetes.dynamic
        import kubernetes.dynamic.exceptions
    except ImportError as error:
        raise DeployError(
            f"the Python package {error.name} is not installed; install it with: "
            "pip install 'anomaly-exporter[kubernetes]', or use --dry-run and kubectl apply"
        ) from None
    return kubernetes


def _plain(answer: Any) -> Object:
    try:
        made = json.loads(answer.data)
    except ValueError:
        made = None
    if not isinstance(made, dict):
        raise DeployError("what answers is no Kubernetes API server: not JSON; is there a proxy or a login between?")
    return made


def _unknown(kind: str) -> str:
    if kind in OPERATOR:
        return (
            f"the cluster does not know {kind} ({KINDS[kind].api_version}): install the Prometheus operator, "
            "or do without its objects with --no-operator"
        )
    return f"the cluster does not know {kind} ({KINDS[kind].api_version}): it is older than Kubernetes 1.25"


def _message(error: Any) -> str:
    """Return what the API server says, in one line and without secrets."""
    try:
        text = json.loads(error.body)["message"]
    except (TypeError, ValueError, KeyError):
        text = error.reason or "no reason given"
    return masked(" ".join(str(text).split()))[:500]


def _invalid(kind: str, name: str, namespace: str, message: str) -> str:
    if "immutable" in message or "Forbidden: updates to" in message:
        orphan = " --cascade=orphan" if kind == "StatefulSet" else ""
        return (
            f"{kind} {name}: what has changed can never be changed on an object that exists ({message}); save what it "
            f"holds, delete it and apply again: kubectl -n {namespace} delete {kind.lower()}/{name}{orphan}"
        )
    return f"{kind} {name}: the cluster refuses it (422): {message}"
