"""A connection to a cluster: reads and writes objects as dicts; every error is one sentence."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

import yaml

from deploy.kubernetes.errors import (
    Conflict,
    DeployError,
    forbidden,
    invalid,
    login,
    message_of,
    no_kubernetes,
    not_found,
    of_kubernetes,
    refused,
    unreachable,
)
from deploy.kubernetes.parts import KINDS, Object
from deploy.kubernetes.settings import MANAGER
from exporter import __version__
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
        api.user_agent = f"{MANAGER}/{__version__}"

    @classmethod
    def connect(cls, context: str | None = None) -> "Cluster":
        """Connect as kubectl does, or as the pod that this runs in. Raises DeployError."""
        kubernetes = _package()
        configuration = kubernetes.client.Configuration()
        files = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
        known = any(Path(file).exists() for file in files.split(os.pathsep) if file)
        try:
            if known:
                with _login_errors(files):
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
            except self._errors.NotFoundError as error:
                if of_kubernetes(error):
                    return None
                raise
            return self._plain(found)

        return self._answer(kind, name, namespace, ask)

    def select(self, kind: str, namespace: str, selector: str) -> list[Object]:
        """Return the objects with the labels of `selector`. Raises DeployError."""

        def ask() -> list[Object]:
            found = self._client.get(
                self._resource(kind), namespace=self._scope(kind, namespace), label_selector=selector, **_LIMITS
            )
            # Items of a list have no kind.
            identity = {"apiVersion": KINDS[kind].api_version, "kind": kind}
            return [{**identity, **item} for item in self._plain(found).get("items") or ()]

        return self._answer(kind, "", namespace, ask)

    def create(self, made: Object, *, dry_run: bool = False) -> Object:
        """Create an object and return it as the cluster has it. Raises Conflict if it exists, DeployError.

        With `dry_run`, here and below, everything is checked and answered as if it were done, and nothing is changed.
        """
        options = _writing(dry_run)
        return self._write(made, lambda resource, scope: self._client.create(resource, made, scope, **options))

    def replace(self, made: Object, *, dry_run: bool = False) -> Object:
        """Replace an object, unless it has changed since it was read; return it. Raises Conflict, DeployError."""
        options = _writing(dry_run)
        return self._write(made, lambda resource, scope: self._client.replace(resource, made, None, scope, **options))

    def delete(self, found: Object, *, dry_run: bool = False) -> Object:
        """Delete the object that was read, with its dependents. Raises Conflict, DeployError.

        Returns the object if finalizers keep it for now, else a Status.
        """
        metadata = found["metadata"]
        # The uid, not the version: the status may change at any time, but a new object of that name must stay.
        body: Object = {"propagationPolicy": "Background", "preconditions": {"uid": metadata["uid"]}}
        if dry_run:
            body["dryRun"] = ["All"]

        def ask(resource: Any, scope: str | None) -> Any:
            try:
                return self._client.delete(resource, metadata["name"], scope, body, **_LIMITS)
            except self._errors.NotFoundError:
                return None

        return self._write(found, ask)

    def _write(self, made: Object, ask: Callable[[Any, str | None], Any]) -> Object:
        kind, metadata = made["kind"], made["metadata"]
        namespace = metadata.get("namespace", "")
        scope = self._scope(kind, namespace)

        def plain() -> Object:
            answer = ask(self._resource(kind), scope)
            return {} if answer is None else self._plain(answer)

        return self._answer(kind, metadata["name"], namespace, plain)

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
            raise DeployError(login(self._host, "401")) from None
        except errors.ForbiddenError as error:
            raise forbidden(self._host, kind, name, what, message_of(error)) from None
        except errors.UnprocessibleEntityError as error:
            raise DeployError(invalid(kind, name, namespace, message_of(error))) from None
        except errors.NotFoundError as error:
            raise DeployError(not_found(self._host, kind, what, error)) from None
        except errors.DynamicApiError as error:
            raise refused(what, error) from None
        except (HTTPError, OSError) as error:
            raise DeployError(unreachable(self._host, error)) from None

    def _plain(self, answer: Any) -> Object:
        try:
            made = json.loads(answer.data)
        except ValueError:
            raise DeployError(no_kubernetes(self._host, "the answer is not JSON")) from None
        if not isinstance(made, dict) or not made.keys() & {"kind", "metadata", "items"}:
            raise DeployError(no_kubernetes(self._host, "the answer is no object"))
        return made


_LIMITS: Final[dict[str, Any]] = {"_request_timeout": _WITHIN, "serialize": False}


def _writing(dry_run: bool) -> dict[str, Any]:
    """Return the options of a write; the cluster notes us as the manager of the fields."""
    return {**_LIMITS, "field_manager": MANAGER, **({"dry_run": "All"} if dry_run else {})}


@contextmanager
def _login_errors(files: str) -> Iterator[None]:
    """Raise DeployError where the package only logs that the login of a kubeconfig has failed, and goes on without."""
    root, heard = logging.getLogger(), _Heard()
    before, root.handlers = root.handlers, [heard]
    try:
        yield
    finally:
        root.handlers = before
    if heard.lines:
        said = masked(" ".join(" ".join(heard.lines).split()))[:300]
        raise DeployError(login(files, said))


class _Heard(logging.Handler):
    """Keeps the errors that are logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


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
