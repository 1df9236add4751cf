"""Which keys the models know at a place of the configuration."""

import dataclasses
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from detectors import DETECTORS, fields_of
from exporter.config.nodes import Place, key_of_job


def known_keys(root: type[BaseModel], place: Place) -> tuple[str, ...]:
    """Return the keys that may stand at `place`; none where the keys are the user's own, as the names of jobs are."""
    if (key := key_of_job(place)) and key[0] == "detector":
        return _detector_keys(key[1:])
    annotation: Any = root
    for part in place:
        annotation = _child(annotation, str(part))
    return tuple(_fields(annotation))


def parameters(detector: str) -> dict[str, dataclasses.Field[Any]]:
    """Return the hyper-parameters of a known detector by name. Raises ImportError when it cannot be loaded here."""
    return {name: field for name, field in fields_of(detector).items() if name != "peers"}  # that is a key of the job


def _detector_keys(place: Place) -> tuple[str, ...]:
    if not place:
        return tuple(DETECTORS)
    try:
        return tuple(parameters(str(place[0]))) if len(place) == 1 and place[0] in DETECTORS else ()
    except ImportError:
        return ()


def _fields(annotation: Any) -> dict[str, Any]:
    for kind in _alternatives(annotation):
        item = get_args(kind)[0] if get_origin(kind) is tuple else kind  # one section may stand for a list of one
        if isinstance(item, type) and issubclass(item, BaseModel):
            return {info.alias or name: info.annotation for name, info in item.model_fields.items()}
    return {}


def _child(annotation: Any, key: str) -> Any:
    for kind in _alternatives(annotation):
        if get_origin(kind) is dict:
            return get_args(kind)[1]
        if get_origin(kind) is tuple and key.isdigit():  # an item of a list
            return get_args(kind)[0]
    return _fields(annotation).get(key)


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return tuple(kind for member in get_args(annotation) for kind in _alternatives(member))
    return (annotation,)
