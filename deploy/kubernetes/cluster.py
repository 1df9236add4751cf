"""A connection to a cluster: reads and writes objects as dicts; every error is one sentence."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

import yaml

from deploy.kubernetes.errors import Conflict, DeployError, Forbidden, invalid, message_of, unknown_kind
from deploy.kubernetes.parts import KINDS, Object
from exporter.redact import masked

T = TypeVar("T")


_WITHIN: Final = 15.0
"""Seconds for one request."""


class Cluster:
    """The objects of a cluster.

    Parameters
    ----------
    api : kubernetes.client.ApiClient
        Client of the API server; `connect` configures one as kubectl does.
    """

    def __init__(self, api: Any) -> None:
        kubernetes = _package()
        self._errors: ModuleType = kubernetes.dynamic.exceptions
        # No discovery: it requests every API group and caches the answer in a file that others may write.
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
                raise DeployError(f"no cluster is configured: there is no file {files}; KUBECONFIG names another")
        except kubernetes.config.ConfigException as error:
            source = files if known else "the account of this pod"
            raise DeployError(masked(f"{source}: {' '.join(str(error).split())}; does kubectl work with it?")) from None
        except (OSError, ValueError, TypeError, LookupError, AttributeError, yaml.YAMLError) as error:
            # The cause is not shown: such a file holds credentials.
            raise DeployError(
                f"{files}: is not a usable kubeconfig ({type(error).__name__}): does kubectl work?"
            ) from None
        configuration.retries = 0
        return cls(kubernetes.client.ApiClient(configuration))

    def get(self, kind: str, name: str, namespace: str) -> Object | None:
        """Return an object, or None. Raises DeployError."""

        def ask() -> Object | None:
            try:
                found = self._client.get(self._resource(kind), name, self._scope(kind, namespace), **_LIMITS)
            except self._errors.NotFoundError:
                return None
            return _plain(found)

        return self._answer(kind, name, namespace, ask)

    def select(self, kind: str, namespace: str, selector: str) -> list[Object]:
        """Return the objects with the labels of `selector`. Raises DeployError."""

        def ask() -> list[Object]:
            try:
                found = self._client.get(
                    self._resource(kind), namespace=self._scope(kind, namespace), label_selector=selector, **_LIMITS
                )
            except self._errors.NotFoundError:
                raise DeployError(unknown_kind(kind)) from None
            # Items of a list have no kind.
            identity = {"apiVersion": KINDS[kind].api_version, "kind": kind}
            return [{**identity, **item} for item in _plain(found).get("items") or ()]

        return self._answer(kind, "", namespace, ask)

    def create(self, made: Object) -> None:
        """Create an object. Raises Conflict if it exists, DeployError."""
        self._write(made, lambda resource, scope: self._client.create(resource, made, scope, **_LIMITS))

    def replace(self, made: Object) -> None:
        """Replace an object, unless it has changed since it was read. Raises Conflict, DeployError."""
        self._write(made, lambda resource, scope: self._client.replace(resource, made, None, scope, **_LIMITS))

    def delete(self, found: Object) -> None:
        """Delete the object that was read, with its dependents. Raises Conflict, DeployError."""
        metadata = found["metadata"]
        # The uid, not the version: the status may change at any time, but a new object of that name must stay.
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
                f"{self._host} does not accept the login (401): log in to the cluster; does kubectl get pods work?"
            ) from None
        except errors.ForbiddenError as error:
            rights = "anomaly-exporter deploy --rbac prints the privileges it needs"
            if kind == "Namespace":
                rights = f"an administrator must create it first: kubectl create namespace {name}"
            raise Forbidden(f"{what}: the cluster refuses it (403): {message_of(error)}; {rights}") from None
        except errors.UnprocessibleEntityError as error:
            raise DeployError(invalid(kind, name, namespace, message_of(error))) from None
        except errors.NotFoundError as error:
            raise DeployError(f"{what}: {message_of(error)}; is there such a namespace?") from None
        except errors.DynamicApiError as error:
            raise DeployError(f"{what}: the cluster answered {error.status}: {message_of(error)}") from None
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
        raise DeployError(
            "the answer is not JSON, so this is not a Kubernetes API server; is there a proxy or login in between?"
        )
    return made
