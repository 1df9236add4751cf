"""From nodes to a model, or to all mistakes at once: pydantic decides, this module finds the lines and the words."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from exporter.config.errors import MOST, ConfigError, Mistake, nearest, unknown_key
from exporter.config.known_keys import known_keys
from exporter.config.nodes import Node, Place, follow, plain, without
from exporter.config.renamed import renamed
from exporter.config.section_base import Section
from exporter.config.values import shown

Model = TypeVar("Model", bound=Section)
Fault = Mapping[str, Any]
"""One entry of pydantic's `ValidationError.errors()`."""

_UNKNOWN = {"extra_forbidden", "unexpected_keyword_argument"}
_MISSING = {"missing", "missing_argument", "missing_keyword_only_argument"}
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "path": "the path of a file, as text",
    "tuple": "a list in brackets",
    "list": "a list in brackets",
    "set": "a list in brackets",
    "frozen_set": "a list in brackets",
}
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}
_LABEL = "is not a label name: letters, digits and _ only, and no digit first"
_NAMESPACE = "is not the name of a namespace: lower-case letters, digits and -, 63 at most"
_NAMES: Mapping[str | int, str] = {
    **dict.fromkeys(("entity", "group", "channels", "labels", "annotations", "group_by"), _LABEL),
    **dict.fromkeys(
        ("namespaces", "teams"), "is not the name of a namespace: lower-case letters, digits and -, 63 at most"
    ),
    "jobs": "is not a job name: letters, digits and _ . : - after a letter, digit or _, 100 at most",
    "headers": "is not a header name",
    "users": "is not a user name: it may not hold a colon",
    "env": "must be the name of an environment variable, never the secret itself",
}


def validate(tree: Node, model: type[Model]) -> Model:
    """Check `tree` against `model`. Raises ConfigError with every mistake."""
    try:
        return model.model_validate(plain(tree))
    except ValidationError as error:
        faults = list(islice(_expanded(error), MOST + 1))
    mistakes = [_mistake(place, fault, tree, model) for place, fault in _placed(faults, tree)]
    # Keys that do not go together are only looked at where every key is right by itself.
    # So look again without the wrong ones, and leave out what may follow from their absence.
    repaired, suspect = _repaired(_placed(faults, tree), tree, model)
    try:
        model.model_validate(plain(repaired))
    except ValidationError as error:
        for place, fault in _placed(list(_expanded(error)), repaired):
            section = place[:-1] if place and place[-1] in fault.get("keys", ()) else place
            keys = {(*section, key) for key in fault.get("keys", ())}
            if keys and not keys & suspect:
                mistakes.append(_mistake(place, fault, repaired, model))
    raise ConfigError(*mistakes)


def _expanded(error: ValidationError) -> Iterator[Fault]:
    for fault in error.errors(include_url=False):
        found = fault.get("ctx", {}).get("found", ())
        if fault["type"] == "conflicts":
            for keys, message in found:
                yield {"type": "conflict", "loc": fault["loc"], "keys": keys, "msg": message, "input": fault["input"]}
        elif fault["type"] == "parameters":
            name = next(iter(fault["input"])) if isinstance(fault["input"], dict) else fault["input"]
            for inner in found:
                if inner["loc"] == ("window",) and "window" not in _given(fault["input"]):
                    text = f"the detector's window (window / step, in samples) {_bounded(inner)}"
                    yield {
                        **fault,
                        "type": "conflict",
                        "loc": fault["loc"][:-1],
                        "keys": ("window", "step"),
                        "msg": text,
                    }
                else:
                    yield {**inner, "loc": (*fault["loc"], name, *inner["loc"])}
        else:
            yield fault


def _given(detector: Any) -> Mapping[str, Any]:
    return next(iter(detector.values())) or {} if isinstance(detector, dict) else {}


def _placed(faults: list[Fault], tree: Node) -> list[tuple[Place, Fault]]:
    """Give every fault its place; pydantic's own location also names the alternatives it tried."""
    placed = []
    for fault in faults:
        path, place = [tree], ()  # type: tuple[list[Node], Place]
        for part in fault["loc"]:
            if len(deeper := follow(path[-1], (part,))) > 1:
                path.append(deeper[-1])
                place = (*place, part)
        last = fault["loc"][-1] if fault["loc"] else None
        if fault["type"] in _MISSING and last is not None:
            place = (*place, last)
        if fault["type"] == "conflict":
            present = plain(path[-1])
            place = (*place, *[key for key in fault["keys"] if key in present][:1])
        placed.append((place, fault))
    return placed


def _mistake(place: Place, fault: Fault, tree: Node, model: type[BaseModel]) -> Mistake:
    origin = follow(tree, place)[-1].origin
    return Mistake(origin.source, origin.line, place, _message(place, fault, model))


def _message(place: Place, fault: Fault, model: type[BaseModel]) -> str:  # noqa: PLR0911 - one return for each kind
    kind, value, context = fault["type"], fault["input"], fault.get("ctx", {})
    if kind in _UNKNOWN:
        return renamed(place) or unknown_key(str(place[-1]), known_keys(model, place[:-1]))
    if kind in _MISSING:
        return "is missing"
    if context.get("class_name") == "Secret":
        return "must be a reference, {env: NAME} or {file: PATH}, never the secret itself"
    if value is None:
        optional = place[-1] in known_keys(model, place[:-1])
        return "has no value; give it one" + ", or remove the line to get the default" * optional
    if kind in {"model_type", "model_attributes_type", "dict_type", "dataclass_type"}:
        return f"must be keys with values, not {'a list' if isinstance(value, list) else 'a single value'}"
    if kind in _BOUNDS:
        return _bounded(fault)
    if kind == "literal_error":
        near = nearest(
            str(value), known := [word.strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")]
        )
        return renamed(place, value) or f"must be {', '.join(known[:-1])} or {known[-1]}, not {shown(value)}" + (
            f"; did you mean {near!r}?" if near else ""
        )
    if kind == "string_pattern_mismatch":
        return _NAMES.get(place[-1] if place[-1] == "env" else place[-2]) or _worded(fault)
    if kind == "too_short":
        return "is empty; name at least one"
    if kind == "finite_number":
        return "must be a finite number"
    if kind == "string_type":
        return "must be text; put it in quotes"
    if noun := _KINDS.get(kind.removesuffix("_type").removesuffix("_parsing").removesuffix("_from_float")):
        return f"must be {noun}, not {shown(value)}"
    return _worded(fault)


def _bounded(fault: Fault) -> str:
    if fault["type"] not in _BOUNDS:
        return _worded(fault)
    words, key = _BOUNDS[fault["type"]]
    return f"must be {words} {fault['ctx'][key]:.12g}, not {shown(fault['input'])}"


def _worded(fault: Fault) -> str:
    return str(fault["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")


def _repaired(placed: list[tuple[Place, Fault]], tree: Node, model: type[BaseModel]) -> tuple[Node, set[Place]]:
    suspect: set[Place] = set()
    for place, fault in placed:
        near = nearest(str(place[-1]), known_keys(model, place[:-1])) if fault["type"] in _UNKNOWN else None
        # A list item or a parameter of a detector makes its whole key wrong.
        whole = place[: next((n for n, part in enumerate(place) if isinstance(part, int)), len(place))]
        tree = without(tree, whole, near) if whole else tree
        suspect.update(whole[:length] for length in range(1, len(whole) + 1))
    return tree, suspect
