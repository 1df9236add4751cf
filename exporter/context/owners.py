"""Whose deploy it is: which entities of a job belong to the owner that labels name."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.types import Key
from exporter.context.labels import SUBJECTS, WEAK, scopes, subjects

Rows = NDArray[np.intp]
_STRONG: Final = frozenset(SUBJECTS) - WEAK


def belongs(key: Key, owner: Key, said: Mapping[str, str] | None = None) -> bool:
    """Tell whether an entity belongs to an owner.

    With `said`, the owner's labels by those of the entity's: all of them must be there and be equal. Else both must
    name one workload: by a label of the same name, or by any two that name workloads (`deployment="cart"` and
    `service="cart"`, or `pod="cart-7d9f8b6c54-x2x9k"`), and agree on where it is as far as both say that.

    >>> belongs((("namespace", "shop"), ("service", "cart")), (("deployment", "cart"), ("namespace", "shop")))
    True
    >>> belongs((("namespace", "test"), ("service", "cart")), (("deployment", "cart"), ("namespace", "shop")))
    False
    """
    if said is not None:
        mine, theirs = dict(key), dict(owner)
        return all(theirs.get(other) and theirs[other] == mine.get(own) for other, own in said.items())
    return _agree(subjects(key), scopes(key), owner)


def _agree(names: Sequence[tuple[str, str]], where: Mapping[str, str], owner: Key) -> bool:
    """Tell whether what names the workload of an entity, and where it is, agree with an owner."""
    there = scopes(owner)
    if any(there.get(name, value) != value for name, value in where.items()):
        return False
    of_owner, of_entity = dict(subjects(owner)), dict(names)
    strong = {name: value for name, value in of_owner.items() if name in _STRONG}
    both = of_owner.keys() & of_entity.keys()
    if any(name in strong and of_owner[name] != of_entity[name] for name in both):
        return False
    if strong:
        return bool(set(strong.values()) & {value for _, value in names})
    if both:
        return all(of_owner[name] == of_entity[name] for name in both)
    values = {value for name, value in subjects(owner) if name in {"job", "exported_job", "name"}}
    return bool(values & {value for name, value in names if name in _STRONG or name == "pod"})


class EntityOwners:
    """Finds the rows of an owner's entities: those of equal labels, as far as they name workloads, are looked at once.

    Parameters
    ----------
    keys : tuple of Key, length E
    said : mapping of str to str, or None
        Label of a deploy to label of an entity that must be equal; None: they are found.
    before : EntityOwners or None
        The same for the entities before some came or went: what is known of the others is used again.
    """

    def __init__(
        self, keys: tuple[Key, ...], said: Mapping[str, str] | None, before: "EntityOwners | None" = None
    ) -> None:
        self.keys, self.said = keys, said
        self._rows: dict[Key, Rows] = {}
        same = before is not None and before.said is said and len(before._numbers) <= 2 * len(keys) + 1000
        self._numbers: dict[tuple[Key, Key], int] = before._numbers if before is not None and same else {}
        # By identity: keys are the same objects as long as an entity is there. 5 µs for each entity that is new, 0.1 µs
        # for the others; only where there was a deploy within a day, and after entities came or went.
        known = dict(zip(map(id, before.keys), before._of, strict=True)) if before is not None and same else {}
        found = [known.get(id(key), -1) for key in keys]
        self._of: list[int] = [
            self._number(key) if number < 0 else number for key, number in zip(keys, found, strict=True)
        ]
        order = np.argsort(self._of, kind="stable")
        numbers, first = np.unique(np.array(self._of, np.int64)[order], return_index=True)
        rows = np.split(order, first[1:]) if len(keys) else []
        parts = list(self._numbers)
        self._alike = {parts[number]: each for number, each in zip(numbers.tolist(), rows, strict=True)}
        self._named: dict[str, list[tuple[Key, Key]]] = {}
        for part in self._alike:
            for value in {value for _, value in part[0]}:
                self._named.setdefault(value, []).append(part)

    def rows(self, owner: Key) -> Rows:
        """Return the rows of the entities that belong to an owner, ascending."""
        found = self._rows.get(owner)
        if found is None:
            values = dict.fromkeys(value for _, value in (*owner, *subjects(owner)))
            near = dict.fromkeys(part for value in values for part in self._named.get(value, ()))
            parts = [self._alike[part] for part in near if self._is_of(part, owner)]
            found = np.sort(np.concatenate(parts)) if parts else np.empty(0, np.intp)
            self._rows[owner] = found
        return found

    def _number(self, key: Key) -> int:
        return self._numbers.setdefault(self._part(key), len(self._numbers))

    def _part(self, key: Key) -> tuple[Key, Key]:
        """Return the labels of an entity that count."""
        if self.said is None:
            return tuple(subjects(key)), tuple(scopes(key).items())
        return tuple(pair for pair in key if pair[0] in self.said.values()), ()

    def _is_of(self, part: tuple[Key, Key], owner: Key) -> bool:
        if self.said is not None:
            return belongs(part[0], owner, self.said)
        return _agree(part[0], dict(part[1]), owner)
