"""One YAML or JSON document as nodes with their lines, in bounded work.

Nodes are made straight from the parser's events, so that depth, aliases and size are bounded while the text is read,
not after. Words and numbers are distinguished as in YAML 1.2: `no`, `on` and `1:30` are text, `1e3` is a number.
"""

import re
from typing import Final, NoReturn

import yaml

from exporter.config.errors import ConfigError, Mistake
from exporter.config.nodes import Node, Origin, Place, Scalar

MAX_DEPTH: Final = 32
MAX_NODES: Final = 100_000

# libyaml is ten times faster; both give the same events.
_PARSER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_WORDS: Final[dict[str, Scalar]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_PREFIXED: Final = re.compile(r"0o[0-7]{1,21}|0x[0-9a-fA-F]{1,15}")
_SPECIAL: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_STRING_TAGS: Final = (None, "!", "tag:yaml.org,2002:str")
_COLLECTION_TAGS: Final = (None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


def scalar(text: str) -> Scalar:
    """Resolve an unquoted value by the core schema of YAML 1.2."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _PREFIXED.fullmatch(text):
        return int(text, 0)
    if _SPECIAL.fullmatch(text):
        return float(text.replace(".", "", 1))
    return text


def _tag(tag: str) -> str:
    return f"the tag {tag.replace('tag:yaml.org,2002:', '!!')} is not supported; remove it"


class Document:
    """Builds the nodes of one document.

    Parameters
    ----------
    text : str
        The document.
    source : str
        Where it comes from, for the origins of the nodes.

    Attributes
    ----------
    mistakes : list of Mistake
        Mistakes that did not stop the building, such as a key given twice.
    """

    def __init__(self, text: str, source: str) -> None:
        self.mistakes: list[Mistake] = []
        self._source = source
        self._events = yaml.parse(text, Loader=_PARSER)
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._size = 0

    def root(self) -> Node | None:
        """Return the root, None where there is no document. Raises ConfigError, or what the parser raises."""
        root = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    self._refuse(event, (), "a second document begins with ---; keep one")
                root = self._node(next(self._events), ())
        return root

    def _node(self, event: yaml.Event, place: Place) -> Node:
        assert isinstance(event, yaml.NodeEvent)
        if len(place) > MAX_DEPTH:
            self._refuse(event, (), f"nested deeper than {MAX_DEPTH} levels")
        before = self._size
        if isinstance(event, yaml.ScalarEvent):
            self._grow(event, 1 + len(event.value) // 100)
            node = Node(self._scalar(event, place), self._origin(event))
        elif isinstance(event, yaml.CollectionStartEvent):
            self._grow(event, 1)
            if event.tag not in _COLLECTION_TAGS:
                self._note(event, place, _tag(event.tag))
            node = self._list(event, place) if isinstance(event, yaml.SequenceStartEvent) else self._dict(event, place)
        else:
            return self._alias(event, place)
        if event.anchor:
            self._anchors[event.anchor] = node, self._size - before
        return node

    def _alias(self, event: yaml.NodeEvent, place: Place) -> Node:
        if event.anchor not in self._anchors:
            self._refuse(event, place, f"no finished anchor &{event.anchor} comes before the alias *{event.anchor}")
        node, size = self._anchors[event.anchor]
        self._grow(event, size)
        return node

    def _scalar(self, event: yaml.ScalarEvent, place: Place) -> Scalar:
        if event.implicit[0]:
            return scalar(event.value)
        if event.tag not in _STRING_TAGS:
            self._note(event, place, _tag(event.tag))
        return event.value

    def _list(self, start: yaml.Event, place: Place) -> Node:
        items: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, (*place, len(items))))
        return Node(items, self._origin(start))

    def _dict(self, start: yaml.Event, place: Place) -> Node:
        children: dict[str, Node] = {}
        merged: list[Node] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                self._refuse(event, place, "a key must be plain text")
            key = event.value
            child = Node(self._node(next(self._events), (*place, key)).value, self._origin(event))
            if key == "<<" and event.implicit[0]:
                merged += child.value if isinstance(child.value, list) else [child]
            elif key in children:
                self._note(event, (*place, key), f"given twice, first on line {children[key].origin.line}")
            else:
                children[key] = child
        for source in merged:
            if isinstance(source.value, dict):
                for key, child in source.value.items():
                    children.setdefault(key, child)
            else:
                self._note(start, (*place, "<<"), "takes a mapping, such as *name of an anchored one")
        return Node(children, self._origin(start))

    def _grow(self, event: yaml.Event, size: int) -> None:
        self._size += size
        if self._size > MAX_NODES:
            self._refuse(event, (), "far too much content once aliases (*name) are expanded; write fewer of them")

    def _origin(self, event: yaml.Event) -> Origin:
        assert event.start_mark is not None
        return Origin(self._source, event.start_mark.line + 1)

    def _note(self, event: yaml.Event, place: Place, message: str) -> None:
        self.mistakes.append(Mistake(self._source, self._origin(event).line, place, message))

    def _refuse(self, event: yaml.Event, place: Place, message: str) -> NoReturn:
        raise ConfigError(Mistake(self._source, self._origin(event).line, place, message))
