"""The state of series that another replica has judged until now, when the number of replicas has changed."""

from collections.abc import Callable, Iterable
from typing import Final

import numpy as np

from detectors.entity_state import decode_keys, decode_text, encode_keys
from detectors.types import Flags, Key, State

_KEYS: Final = "keys"
_PARTS: Final = ("incidents/", "hold/", "budget/", "detector/", "forecast/")
"""What is kept by entity and depends on nothing else; of all other parts those of the first state stay."""
_OF_JOB: Final = frozenset({"budget/closed", "budget/entity_weeks", "detector/half_space_feature"})
"""Fields that may look as if they had a row for each entity, by chance."""


def handed_over(states: Iterable[State], owns: Callable[[Key], bool]) -> State:
    """Return one state with the rows of our entities from several of them, each entity from the first that has it.

    What is kept for the whole job is that of the first state. A state with another model is left out: its rows mean
    something else. The job goes on at the earliest time of them all, so some samples may be learnt twice.

    Parameters
    ----------
    states : iterable of State, at least one
        As `Job.state` returned them in replicas of the same job.
    owns : callable taking a Key
        Tells whether an entity is ours now.
    """
    first, *others = states
    made = {field: array for field, array in first.items() if not field.startswith("last/")}
    every = [first, *(each for each in others if _same_model(each, first))]
    made["judged"] = np.min([each["judged"] for each in every], axis=0)
    for field in [field for field in first if field.endswith(_KEYS) and field.startswith(_PARTS)]:
        made |= _rows(field, [each for each in every if field in each], owns)
    return made


def _same_model(one: State, other: State) -> bool:
    return decode_text(one["model_version"]) == decode_text(other["model_version"])


def _rows(field: str, states: list[State], owns: Callable[[Key], bool]) -> State:
    """Return the rows that belong to one field of keys."""
    keys = [decode_keys(state[field]) for state in states]
    names = _fields(field, states, keys)
    taken: dict[Key, None] = {}
    chosen: list[Flags] = []
    for mine in keys:
        wanted = np.array([key not in taken and owns(key) for key in mine], np.bool_)
        taken |= dict.fromkeys(key for key, ours in zip(mine, wanted.tolist(), strict=True) if ours)
        chosen.append(wanted)
    made = {
        name: np.concatenate([state[name][rows] for state, rows in zip(states, chosen, strict=True)]) for name in names
    }
    return {field: encode_keys(tuple(taken)), **made}


def _fields(field: str, states: list[State], keys: list[tuple[Key, ...]]) -> list[str]:
    """Return the fields with a row for each key, of the same shape in every state."""
    prefix = field.removesuffix(_KEYS)
    longer = tuple(each.removesuffix(_KEYS) for each in states[0] if each.endswith(_KEYS) and len(each) > len(field))
    found = []
    for name in states[0]:
        if not name.startswith(prefix) or name.endswith(_KEYS) or name in _OF_JOB or name.startswith(longer or ("\0",)):
            continue
        arrays = [state.get(name) for state in states]
        rows = [array is not None and array.shape[:1] == (len(mine),) for array, mine in zip(arrays, keys, strict=True)]
        shapes = {None if array is None else array.shape[1:] for array in arrays}
        if all(rows) and len(shapes) == 1:
            found.append(name)
    return found
