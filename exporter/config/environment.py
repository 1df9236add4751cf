"""Environment variables over the files: ANOMALY_EXPORTER__PROMETHEUS__URL sets prometheus.url."""

import re
from collections.abc import Mapping
from typing import Final

from exporter.config.errors import ConfigError, Mistake, unknown_key
from exporter.config.known_keys import known_keys
from exporter.config.nodes import Node, Origin, Place, follow, overlay
from exporter.config.read_file import parse
from exporter.config.section_base import Section
from exporter.config.yaml_nodes import scalar

PREFIX: Final = "ANOMALY_EXPORTER__"
MAX_LENGTH: Final = 65_536


def with_environment(tree: Node, model: type[Section], environ: Mapping[str, str]) -> tuple[Node, list[Mistake]]:
    """Lay the variables that begin with PREFIX over `tree`; return it with the mistakes among them.

    Keys are found without regard to case, and `_` stands for any character a variable's name cannot hold. What is
    named must exist: as a key of the models, or (for names that are the user's own, such as a job's) in the files.
    """
    mistakes: list[Mistake] = []
    for name in sorted(key for key in environ if key.startswith(PREFIX)):
        origin = Origin(f"environment variable {name}")
        try:
            place = _place(tree, model, name.removeprefix(PREFIX).split("__"), origin)
            node = _value(environ[name], origin)
        except ConfigError as error:
            mistakes += error.mistakes
            continue
        for key in reversed(place):
            node = Node({str(key): node}, origin)
        tree = overlay(tree, node, lambda at: known_keys(model, at))
    return tree, mistakes


def _place(tree: Node, model: type[Section], segments: list[str], origin: Origin) -> Place:
    place: Place = ()
    for segment in segments:
        path = follow(tree, place)
        present = path[-1].value if len(path) > len(place) else None
        known = dict.fromkeys((*(present if isinstance(present, dict) else ()), *known_keys(model, place)))
        matches = [key for key in known if _folded(key) == _folded(segment)]
        if len(matches) > 1:
            message = f"could mean {' or '.join(matches)}; rename one of them, or set this in a file"
            raise ConfigError(Mistake(origin.source, None, place, message))
        if not matches:
            message = unknown_key(segment.lower(), tuple(known))
            raise ConfigError(Mistake(origin.source, None, (*place, segment.lower()), message))
        place = (*place, matches[0])
    return place


def _folded(key: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", key.lower())


def _value(text: str, origin: Origin) -> Node:
    text = text.strip()
    if len(text) > MAX_LENGTH:
        raise ConfigError(Mistake(origin.source, None, (), "is far too long"))
    if not text.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ConfigError(Mistake(origin.source, None, (), "is not UTF-8"))
    if not text.startswith(("[", '"', "'")):
        return Node(scalar(text), origin)
    try:
        root, _ = parse(text, origin.source)
    except ConfigError as error:
        raise ConfigError(*(Mistake(origin.source, None, (), fault.message) for fault in error.mistakes)) from None
    return Node(root.value if root else None, origin)
