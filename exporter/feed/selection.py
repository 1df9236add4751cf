"""Which entities are asked for."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.types import Flags, Key

_NOWHERE: Final = np.empty(0, np.intp)


@dataclass(frozen=True, slots=True)
class Matcher:
    """A label and the value it must have, or with `equal=False` must not have; "" is no such label."""

    label: str
    value: str
    equal: bool = True


@dataclass(frozen=True, slots=True)
class Selection:
    """What is asked for; None and () ask for all."""

    jobs: tuple[str, ...] = ()
    labels: tuple[Matcher, ...] = ()
    flag: bool | None = None
    alert: bool | None = None
    limit: int = 100
    offset: int = 0


class Labels:
    """Rows by label and value, made when they are first asked for and kept while the entities stay the same."""

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self.keys = keys
        rows: dict[str, dict[str, list[int]]] = {}
        # A pass over the labels, about 0.2 µs each, only when somebody asks, and only after entities came or went.
        for row, key in enumerate(keys):
            for name, value in key:
                rows.setdefault(name, {}).setdefault(value, []).append(row)
        self._rows = {name: {value: np.array(at) for value, at in by.items()} for name, by in rows.items()}

    def matching(self, matcher: Matcher) -> Flags:
        """Return which entities match, shape (E,)."""
        by_value = self._rows.get(matcher.label, {})
        found = np.zeros(len(self.keys), np.bool_)
        found[by_value.get(matcher.value, _NOWHERE)] = True
        if not matcher.value:
            found[:] = True
            for value, rows in by_value.items():
                found[rows] = not value
        return found if matcher.equal else ~found
