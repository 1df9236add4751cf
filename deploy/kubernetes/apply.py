"""All objects of a configuration together: compare them with a cluster, apply them, delete them."""

from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.kubernetes.client import create_or_update
from deploy.kubernetes.cluster import Cluster
from deploy.kubernetes.compare import difference, marked, ours, require_ours, same
from deploy.kubernetes.errors import Conflict, DeployError, Forbidden
from deploy.kubernetes.objects import objects, secret
from deploy.kubernetes.parts import KEPT, KINDS, OPERATOR, Object, selector
from deploy.kubernetes.settings import Settings
from exporter.config.secrets import Secret, SecretUnavailable


@dataclass(frozen=True, slots=True)
class Survey:
    """The objects of a configuration and of the cluster.

    Parameters
    ----------
    wanted : sequence of (object, object or None)
        Each as built from the configuration, and as found in the cluster.
    stale : sequence of object
        Created by an earlier run and no longer wanted.
    """

    wanted: Sequence[tuple[Object, Object | None]]
    stale: Sequence[Object]


def survey(settings: Settings, cluster: Cluster, folder: Path | None = None) -> Survey:
    """Compare the wanted objects with those in the cluster; change nothing.

    Raises DeployError if an object has another owner, the cluster does not know a kind, or a secret cannot be found.
    """
    made = list(objects(settings))
    there = {_identity(each): each for each in labelled(settings, cluster)}
    wanted: list[tuple[Object, Object | None]] = []
    for each in made:
        if each["kind"] == "Namespace":
            wanted += _namespace(each, cluster)
            continue
        found = there.get(_identity(each)) or cluster.get(each["kind"], each["metadata"]["name"], settings.namespace)
        if found is not None:
            require_ours(found)
        if each["kind"] == "Secret":
            each = secret(settings, values(settings, found, folder))  # noqa: PLW2901 - the same object, now with its values
        wanted.append((each, found))
    names = {_identity(each) for each in made}
    stale = [each for key, each in there.items() if key not in names and each["kind"] not in KEPT]
    return Survey(wanted, stale)


def labelled(settings: Settings, cluster: Cluster) -> Iterator[Object]:
    """Yield every object in the cluster that an earlier run created. Raises DeployError."""
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
            if kind in OPERATOR and not settings.operator:
                continue  # unknown or forbidden there, so none of these objects is ours
            raise
        for each in found:
            there = each["metadata"].get("labels") or {}
            if all(there.get(key) == value for key, value in labels.items()):
                yield each


def _namespace(wanted: Object, cluster: Cluster) -> list[tuple[Object, Object | None]]:
    """Return the Namespace if it is missing or ours. A Namespace of another owner is not changed."""
    try:
        found = cluster.get("Namespace", wanted["metadata"]["name"], "")
    except Forbidden:
        return []  # an account with rights in one namespace only: the namespace exists
    return [(wanted, found)] if found is None or ours(found) else []


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


def changes(settings: Settings, cluster: Cluster, folder: Path | None = None) -> Iterator[str]:
    """Yield a diff of what `apply` would change. Raises DeployError."""
    found = survey(settings, cluster, folder)
    for each in found.stale:
        yield f"--- cluster {each['kind']} {each['metadata']['name']}: no longer wanted, would be deleted"
    for wanted, there in found.wanted:
        sent = marked(wanted)
        if there is None or not same(sent, there):
            yield from difference(sent, there)


def apply(settings: Settings, cluster: Cluster, folder: Path | None = None) -> Iterator[tuple[str, Object]]:
    """Create, update and delete objects; yield each with what was done. Raises DeployError.

    As far as possible, errors are found before anything is changed.
    """
    found = survey(settings, cluster, folder)
    for each in found.stale:  # first: a Deployment and the StatefulSet that follows it would use one volume
        yield remove(each, cluster), each
    for wanted, _ in found.wanted:
        yield create_or_update(wanted, cluster), wanted


def delete(settings: Settings, cluster: Cluster) -> Iterator[tuple[str, Object]]:
    """Delete all our objects except volume claims and Namespace; yield each with what was done. Raises DeployError."""
    for each in reversed(list(labelled(settings, cluster))):
        yield ("kept" if each["kind"] in KEPT else remove(each, cluster)), each


def remove(found: Object, cluster: Cluster) -> str:
    """Delete one object that was read before. Raises DeployError."""
    require_ours(found)
    try:
        cluster.delete(found)
    except Conflict:
        metadata = found["metadata"]
        raise DeployError(
            f"{found['kind']} {metadata['name']}: replaced by another client before it could be deleted; try again"
        ) from None
    return "deleted"


def _identity(made: Object) -> tuple[str, str]:
    return made["kind"], made["metadata"]["name"]
