"""Access to the Kubernetes API, from a pod or as kubectl has it.

The client has no types and takes a second to import.
"""

from importlib import import_module
from typing import Any, Final


class NoAccess(Exception):
    """There is no cluster to ask. The message says why."""


def of_client(module: str) -> Any:
    """Return a module of the Kubernetes client."""
    return import_module(f"kubernetes.{module}")


def log_in(configuration: Any = None) -> None:
    """Use the token of the pod's account, elsewhere a kubeconfig; without a `configuration`, for all clients.

    Raises NoAccess.
    """
    access = of_client("config")
    try:
        try:
            access.load_incluster_config(client_configuration=configuration)
        except access.ConfigException:
            access.load_kube_config(client_configuration=configuration)
    except access.ConfigException as error:
        raise NoAccess(
            f"no access to Kubernetes: {error}; in a pod it needs the token of its account, elsewhere a kubeconfig"
        ) from None


def new_client() -> Any:
    """Return an ApiClient that tries everything once: when it is tried again is ours to say. Raises NoAccess."""
    client = of_client("client")
    configuration = client.Configuration()
    log_in(configuration)
    configuration.retries = False
    return client.ApiClient(configuration)


CONNECT_WITHIN: Final = 5.0
"""Seconds to connect to the API server."""
ANSWER_WITHIN: Final = 30.0
"""Seconds without a byte after which a request is given up."""
