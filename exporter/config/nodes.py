"""A configuration before it is checked: plain values that remember where they were written."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Union

Place = tuple[str | int, ...]
"""Keys and list positions that lead to a value."""
Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written: a file and its line, or an environment variable (no line)."""

    source: str
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A value with its origin. Never changed once made, as aliases share nodes."""

    value: Union[Scalar, dict[str, "Node"], list["Node"]]  # noqa: UP007 - a quoted name cannot be joined with |
    origin: Origin


def plain(node: Node) -> Any:
    """Return the value without origins."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def node_of(value: Any, origin: Origin) -> Node:
    """Return a plain value as nodes of one origin: the reverse of `plain`."""
    if isinstance(value, dict):
        return Node({str(key): node_of(child, origin) for key, child in value.items()}, origin)
    if isinstance(value, list):
        return Node([node_of(child, origin) for child in value], origin)
    return Node(value, origin)


def follow(node: Node, place: Place) -> list[Node]:
    """Return the nodes met on the way to `place`, from the root to the deepest that exists."""
    path = [node]
    for part in place:
        value = path[-1].value
        if isinstance(value, dict) and part in value:
            path.append(value[str(part)])
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            path.append(value[part])
        else:
            break
    return path


def without(node: Node, place: Place, renamed: str | None = None) -> Node:
    """Return a copy that lacks the key at `place`, or has it under the name `renamed` where that is free."""
    if not isinstance(node.value, dict) or (key := str(place[0])) not in node.value:
        return node
    children = dict(node.value)
    if len(place) > 1:
        children[key] = without(children[key], place[1:], renamed)
    else:
        child = children.pop(key)
        if renamed:
            children.setdefault(renamed, child)
    return Node(children, node.origin)


def overlay(base: Node, over: Node, known: Callable[[Place], Collection[str]], place: Place = ()) -> Node:
    """Lay `over` on `base`: mappings are merged, everything else is replaced, null removes a key.

    A null for a key that is neither in `base` nor in `known(place)` stays, to be reported as unknown.
    """
    if not isinstance(over.value, dict):
        return over
    if not isinstance(base.value, dict) or _is_other_choice(base.value, over.value, place):
        base = Node({}, over.origin)
    assert isinstance(base.value, dict)
    merged = dict(base.value)
    for key, node in over.value.items():
        if node.value is None and (key in merged or (key in known(place) and not _is_detector(place))):
            merged.pop(key, None)
        elif key in merged or isinstance(node.value, dict):
            merged[key] = overlay(merged.get(key, Node({}, node.origin)), node, known, (*place, key))
        else:
            merged[key] = node
    return Node(merged, base.origin)


def key_of_job(place: Place) -> Place:
    """Return what follows the name of a job, or `defaults`, in a place; empty for other places."""
    return place[2:] if place[:1] == ("jobs",) else place[1:] if place[:1] == ("defaults",) else ()


def _is_detector(place: Place) -> bool:
    return key_of_job(place) == ("detector",)


def _is_other_choice(base: dict[str, Node], over: dict[str, Node], place: Place) -> bool:
    # A detector and a reference to a secret are one choice out of several: merging two would give neither.
    choice = _is_detector(place) or over.keys() <= {"env", "file"}
    return choice and len(over) == 1 and not over.keys() <= base.keys()
