"""What an object of Kubernetes declares: the texts and rules in it from which jobs are made."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from exporter.config.sections.discover import JOBS, DiscoverConfig

CONFIG_MAP: Final = "ConfigMap"
RULE: Final = "PrometheusRule"
LARGEST: Final = 128 * 2**10
"""Bytes of what one object declares: a hundred times what a job needs."""
MOST_OBJECTS: Final = 100
"""Objects of one kind in a namespace that are kept."""
MOST_RULES: Final = 2000
"""Recording rules of one object that are looked at."""


@dataclass(frozen=True, slots=True, order=True)
class Declaration:
    """What one object declares; in the order of these fields the first of two with the same job has it.

    Parameters
    ----------
    created : str
        When the object was made, as Kubernetes writes it; "" where that is not known.
    kind, namespace, name : str
    texts : tuple of (str, str)
        YAML documents with `jobs`, each with the key under which it stands.
    rules : tuple of (str, str, str)
        Name (`anomaly_name`), recorded metric and expression of the recording rules that are to be judged.
    size : int
        Bytes of all that; where they are too many, texts and rules are left out. -1: there are too many objects.
    uid : str
    """

    created: str
    kind: str
    namespace: str
    name: str
    texts: tuple[tuple[str, str], ...] = ()
    rules: tuple[tuple[str, str, str], ...] = ()
    size: int = 0
    uid: str = ""

    @property
    def path(self) -> str:
        """What messages call it."""
        return f"{self.namespace}/{self.kind}/{self.name}"


def declaration(made: Mapping[str, Any], discover: DiscoverConfig) -> Declaration | None:
    """Return what an object of Kubernetes declares, None where it declares nothing.

    Parameters
    ----------
    made : mapping
        A ConfigMap or a PrometheusRule.
    discover : DiscoverConfig
    """
    kind, metadata = _text(made.get("kind")), _mapping(made.get("metadata"))
    texts: list[tuple[str, str]] = []
    rules: list[tuple[str, str, str]] = []
    if kind == CONFIG_MAP:
        data = _mapping(made.get("data"))
        texts = sorted((key, _text(text)) for key, text in data.items() if _text(key).endswith(_ENDINGS))
    elif kind == RULE:
        annotations = _mapping(metadata.get("annotations"))
        if discover.rules and JOBS in annotations:
            texts = [(JOBS, _text(annotations[JOBS]))]
        rules = list(_named_rules(made)) if discover.anomaly_names else []
        if not texts and not rules:
            return None
    size = sum(len(part.encode(errors="replace")) for each in (*texts, *rules) for part in each)
    too_much = size > LARGEST
    return Declaration(
        _text(metadata.get("creationTimestamp")),
        kind,
        _text(metadata.get("namespace")),
        _text(metadata.get("name")),
        () if too_much else tuple(texts),
        () if too_much else tuple(rules),
        size,
        _text(metadata.get("uid")),
    )


def without_content(each: Declaration) -> Declaration:
    """Return the declaration of an object that is one too many in its namespace."""
    return replace(each, texts=(), rules=(), size=-1)


_ENDINGS: Final = (".yml", ".yaml", ".json")


def _named_rules(made: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield name, metric and expression of the recording rules with a name, each name once.

    The same name for several strategies is one question: which strategy looks for anomalies is our affair.
    """
    found: dict[str, None] = {}
    groups = _list(_mapping(made.get("spec")).get("groups"))
    rules = [_mapping(rule) for group in groups for rule in _list(_mapping(group).get("rules"))]
    for rule in rules[:MOST_RULES]:
        labels = _mapping(rule.get("labels"))
        name, record = _text(labels.get("anomaly_name")), _text(rule.get("record"))
        if name and record and name not in found:
            found[name] = None
            yield name, record, _text(rule.get("expr"))


def _mapping(part: Any) -> Mapping[str, Any]:
    """Return a part of an object, nothing where it has another form: whether a schema holds is not in our hands."""
    return part if isinstance(part, Mapping) else {}


def _text(part: Any) -> str:
    return part if isinstance(part, str) else ""


def _list(part: Any) -> Sequence[Any]:
    return part if isinstance(part, list) else ()
