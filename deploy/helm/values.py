"""The values of the chart: the field of Settings that each fills, its JSON schema and its comment."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from deploy.kubernetes.settings import Settings

Tree = dict[str, Any]
Schema = Mapping[str, Any]

TEXT: Final[Schema] = {"type": "string", "pattern": '^[^"\\\\\\x00-\\x1f]*$'}
NAME: Final[Schema] = {**TEXT, "minLength": 1}
OPTIONAL_NAME: Final[Schema] = {"type": "string", "pattern": "^([a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?)?$"}
PATH: Final[Schema] = {"type": "string", "pattern": '^/[^"\\\\\\x00-\\x1f]+$'}
BOOLEAN: Final[Schema] = {"type": "boolean"}
INTEGER: Final[Schema] = {"type": "integer"}
POSITIVE: Final[Schema] = {**INTEGER, "minimum": 1}
QUANTITY: Final[Schema] = {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"}
LIST: Final[Schema] = {"type": "array", "items": NAME}
KINDS: Final[Schema] = {"type": "array", "items": {"enum": ["configmaps", "prometheusrules"]}}
MAP: Final[Schema] = {"type": "object", "additionalProperties": {"type": "string"}}
ANY: Final[Schema] = {"type": "array", "items": {"type": "object"}}


def _items(properties: Mapping[str, Schema]) -> Schema:
    items = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return {"type": "array", "items": items}


FOLDERS: Final = _items({"folder": PATH, "keys": {**LIST, "minItems": 1}})
RULES: Final = _items({"name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}, "groups": ANY})
POD: Final[Schema] = {
    "type": "object",
    "properties": {
        "imagePullSecrets": _items({"name": NAME}),
        "nodeSelector": MAP,
        "priorityClassName": TEXT,
        "tolerations": ANY,
    },
    "additionalProperties": False,
}
"""Nothing here adds privileges to a pod."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value.

    Parameters
    ----------
    path : str
        Its place: `page.port`.
    setting : str
        The field of Settings it fills, such as `resources.cpu`; empty: only the chart has it.
    help : str
        The comment above it.
    schema : mapping
        Its JSON schema.
    default : object
        For a value that only the chart has.
    """

    path: str
    setting: str
    help: str
    schema: Mapping[str, Any] = field(default_factory=lambda: TEXT)
    default: Any = ""


def _resources(path: str, setting: str) -> Iterator[Value]:
    for part, name in (("requests", ""), ("limits", "_limit")):
        for what in ("cpu", "memory"):
            yield Value(f"{path}.{part}.{what}", f"{setting}.{what}{name}", "", QUANTITY)


VALUES: Final = (
    Value("fullnameOverride", "name", "name of the objects; default: release name and anomaly-exporter", OPTIONAL_NAME),
    Value("image.repository", "", "image without tag", NAME, "anomaly-exporter"),
    Value("image.tag", "", "default: the chart's appVersion"),
    Value("image.digest", "", "sha256:…, used instead of the tag"),
    Value("image.pullPolicy", "pull_policy", "", {"enum": ["Always", "IfNotPresent", "Never"]}),
    Value("config", "config", "files of the configuration by name; docs/configuration.md", {**MAP, "minProperties": 1}),
    Value("configFile", "config_file", "the base file among them", NAME),
    Value("profile", "profile", "dev: anomaly.dev.yml overrides anomaly.yml; both are in config"),
    Value("restartOn", "restart_on", "a change replaces the pods; needed only for changes of `web`"),
    Value("shards", "shards", "replicas that share the entities; above 1 they are a StatefulSet", POSITIVE),
    Value("lease", "lease", "as leader.lease of the configuration: a second pod stands by; not with shards"),
    Value(
        "discover.kinds", "discover", "with discover in the configuration: configmaps, prometheusrules, or both", KINDS
    ),
    Value("discover.namespaces", "discover_namespaces", "as in discover of the configuration; empty: all", LIST),
    Value("page.port", "port", "as in web.listen of the configuration", {**POSITIVE, "maximum": 65_535}),
    Value("page.https", "https", "the configuration has web.tls", BOOLEAN),
    Value("page.clientCertificates", "client_certificates", "the configuration has web.tls.client_ca_file", BOOLEAN),
    Value("secret.create", "make_secret", "create the Secret; false: use an existing one", BOOLEAN),
    Value("secret.name", "secret", "name of the Secret; default: as the other objects", OPTIONAL_NAME),
    Value("secret.env", "secret_env", "keys that are environment variables", LIST),
    Value(
        "secret.files",
        "secret_files",
        "keys that are files: [{folder: /run/secrets/x, keys: [token]}]",
        FOLDERS,
    ),
    Value("secret.values", "", "values by key; keep them in a file outside any repository", MAP, {}),
    Value("state.keep", "keep_state", "keep the state of the pod on a volume", BOOLEAN),
    Value("state.size", "state_size", "size of the volume of each replica", QUANTITY),
    Value("models.path", "models_path", "folder of the model store; empty: no store, or an object store"),
    Value("models.size", "models_size", "size of its volume; with shards or lease it is ReadWriteMany", QUANTITY),
    Value("storageClass", "storage_class", "storage class of all volumes; default: the cluster's"),
    Value("train.enabled", "train", "train models in a CronJob", BOOLEAN),
    Value("train.schedule", "schedule", "cron schedule"),
    Value("train.timeZone", "time_zone", "default: the cluster's"),
    Value("train.deadlineSeconds", "train_deadline", "a longer training is stopped", POSITIVE),
    *_resources("train.resources", "train_resources"),
    *_resources("resources", "resources"),
    Value("pod", "", "for every pod: imagePullSecrets, nodeSelector, tolerations, priorityClassName", POD, {}),
    Value(
        "networkPolicy.egress", "egress", "allowed connections from the pods besides DNS, as NetworkPolicy rules", ANY
    ),
    Value(
        "networkPolicy.scrapeNamespace",
        "scrape_namespace",
        "namespace of Prometheus, the only one that may connect; empty: all",
    ),
    Value(
        "operator.enabled", "operator", "create ServiceMonitor and PrometheusRule for the Prometheus operator", BOOLEAN
    ),
    Value("operator.labels", "monitor_labels", "labels by which the operator selects them", MAP),
    Value("operator.scrapeInterval", "scrape_interval", "", {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"}),
    Value("operator.scrapeJob", "scrape_job", "as alerting.health.scrape_job of the configuration", NAME),
    Value("operator.scrapeSecret", "scrape_secret", "Secret with username and password, if web.users is set"),
    Value("operator.rules", "rules", "PrometheusRules: last part of the name, and groups", RULES),
)


def values(settings: Settings) -> Tree:
    """Return the values with which the chart makes the same objects as the builders."""
    tree: Tree = {}
    for value in VALUES:
        _put(tree, value.path, _of(settings, value))
    repository, at, digest = settings.image.partition("@")
    head, colon, tag = repository.rpartition(":")
    if colon and "/" not in tag:
        repository = head
    else:
        tag = ""
    tree["image"] |= {"repository": repository, "tag": "" if at else tag, "digest": digest}
    if settings.secret == settings.name:
        tree["secret"]["name"] = ""
    return tree


def _of(settings: Settings, value: Value) -> Any:
    if not value.setting:
        return value.default
    found: Any = settings
    for part in value.setting.split("."):
        found = getattr(found, part)
    if value.setting == "secret_files":
        folders: dict[str, list[str]] = {}
        for file in found:
            folder, _, key = file.rpartition("/")
            folders.setdefault(folder, []).append(key)
        return [{"folder": folder, "keys": keys} for folder, keys in folders.items()]
    if value.setting == "rules":
        return [{"name": slug, **spec} for slug, spec in found.items()]
    if isinstance(found, Mapping):
        return dict(found)
    return list(found) if isinstance(found, tuple) else found


def schema() -> Tree:
    """Return the JSON schema of the values; unknown ones are rejected."""
    made: Tree = {"$schema": "http://json-schema.org/draft-07/schema#", **_closed()}
    for value in VALUES:
        *sections, name = value.path.split(".")
        place = made
        for section in sections:
            place = place["properties"].setdefault(section, _closed())
        place["properties"][name] = {**value.schema, **({"description": value.help} if value.help else {})}
    # Helm adds it for subcharts.
    made["properties"]["global"] = {"type": "object"}
    return made


def _closed() -> Tree:
    return {"type": "object", "properties": {}, "additionalProperties": False}


def _put(tree: Tree, path: str, found: Any) -> None:
    *sections, name = path.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[name] = found
