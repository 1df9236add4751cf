"""The objects of a configuration beside those in the cluster, before anything is changed."""

from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.kubernetes.client import is_deleted
from deploy.kubernetes.cluster import Cluster
from deploy.kubernetes.compare import APPLIED, ours, require_ours
from deploy.kubernetes.errors import DeployError, Forbidden
from deploy.kubernetes.objects import objects, secret
from deploy.kubernetes.parts import DEPLOYER, KINDS, LEADING, OPERATOR, PRECIOUS, Object, selector
from deploy.kubernetes.settings import Settings
from exporter.config.secrets import Secret, SecretUnavailable


@dataclass(frozen=True, slots=True)
class Survey:
    """The objects of a configuration and of the cluster.

    Parameters
    ----------
    wanted : sequence of object
        As built from the configuration, with the values of the Secret.
    deleting : sequence of object
        Those of them in the cluster that are being deleted.
    stale : sequence of object
        Created by an earlier `--apply`, and no longer wanted.
    unused : sequence of object
        The same of kinds that are not deleted for that.
    new_namespace : bool
        Whether the namespace is missing: in one that is not there nothing can be tried.
    """

    wanted: Sequence[Object]
    deleting: Sequence[Object]
    stale: Sequence[Object]
    unused: Sequence[Object]
    new_namespace: bool


def survey(settings: Settings, cluster: Cluster, folder: Path | None = None) -> Survey:
    """Compare the wanted objects with those in the cluster; change nothing.

    Raises DeployError if an object has another owner, the cluster does not know a kind, or a secret cannot be found.
    """
    made = list(objects(settings))
    there = {_identity(each): each for each in labelled(settings, cluster)}
    wanted: list[Object] = []
    deleting: list[Object] = []
    new_namespace = False
    for each in made:
        if each["kind"] == "Namespace":
            found = _namespace(each, cluster)
            new_namespace = found is None
            if found is None or ours(found):  # a Namespace of another owner is not changed
                wanted.append(each)
        else:
            metadata = each["metadata"]
            found = there.get(_identity(each)) or cluster.get(each["kind"], metadata["name"], settings.namespace)
            if found is not None:
                require_ours(found)
            if each["kind"] == "Secret":
                each = secret(settings, values(settings, found, folder))  # noqa: PLW2901 - the same object, now with its values
            wanted.append(each)
        if found and is_deleted(found):
            deleting.append(found)
    names = {_identity(each) for each in made} | {("Secret", name) for name in _secrets(settings)}
    left = [each for key, each in there.items() if key not in names and _applied(each)]
    return Survey(
        wanted,
        deleting,
        [each for each in left if each["kind"] not in PRECIOUS and not is_deleted(each)],
        [each for each in left if each["kind"] in PRECIOUS],
        new_namespace,
    )


def labelled(settings: Settings, cluster: Cluster) -> Iterator[Object]:
    """Yield every object in the cluster that is ours, but for the account to deploy with. Raises DeployError."""
    labels = {key: value for key, value in selector(settings, "").items() if value}
    labels["app.kubernetes.io/managed-by"] = settings.managed_by
    for kind in KINDS:
        if kind == "Namespace":
            continue
        try:
            found = cluster.select(
                kind, settings.namespace, ",".join(f"{key}={value}" for key, value in labels.items())
            )
        except DeployError:
            if (kind in OPERATOR and not settings.operator) or (kind in LEADING and not settings.pair):
                continue  # unknown or forbidden there, so none of these objects is ours
            raise
        for each in found:
            there = each["metadata"].get("labels") or {}
            if there.get("app.kubernetes.io/component") == DEPLOYER:
                continue
            if all(there.get(key) == value for key, value in labels.items()):
                yield each


def _namespace(wanted: Object, cluster: Cluster) -> Object | None:
    """Return the Namespace, None where it is missing; as far as we may know, it is there and not ours."""
    try:
        return cluster.get("Namespace", wanted["metadata"]["name"], "")
    except Forbidden:
        return {"kind": "Namespace", "metadata": {"name": wanted["metadata"]["name"]}}


def _secrets(settings: Settings) -> Iterator[str]:
    """Yield the names of the Secrets that the objects refer to, whoever makes them."""
    if settings.secret_env or settings.secret_files:
        yield settings.secret
    yield settings.scrape_secret


def _applied(found: Object) -> bool:
    return APPLIED in (found["metadata"].get("annotations") or {})


def values(settings: Settings, found: Object | None, folder: Path | None = None) -> dict[str, str]:
    """Return the values of the Secret by key.

    Each comes from the file of that name in `folder`, else from its reference on this machine, else from the cluster.
    Raises DeployError with all that cannot be found.
    """
    there: Mapping[str, str] = (found or {}).get("data") or {}
    read, missing = {}, []
    references = [Secret(env=name) for name in settings.secret_env] + [
        Secret.model_validate({"file": path}) for path in settings.secret_files
    ]
    for reference in references:
        key = reference.env or str(reference.file).rpartition("/")[2]
        if folder is not None and (folder / key).is_file():
            reference = Secret(file=folder / key)  # noqa: PLW2901 - the same secret in another place
        try:
            read[key] = reference.read()
        except SecretUnavailable as error:
            if key in there:
                read[key] = b64decode(there[key]).decode()
            else:
                missing.append(str(error))
    if missing:
        raise DeployError(
            f"Secret {settings.secret}: {'; '.join(missing)}. Provide it where this command runs or as a file in "
            "--secret-folder, or name a Secret that has it with --secret"
        )
    return read


def _identity(made: Object) -> tuple[str, str]:
    return made["kind"], made["metadata"]["name"]
