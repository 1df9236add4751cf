"""Per-entity state: arrays whose rows follow the entities as they appear and disappear."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from detectors.types import Batch, Key, State

KEYS_FIELD: Final = "keys"
Where = NDArray[Any] | slice


@dataclass(frozen=True, slots=True)
class Column:
    """One state array.

    Parameters
    ----------
    fill : float
        Initial value of a new entity's row.
    shape : tuple of int
        Shape of one entity's row; () is a single number.
    dtype : DTypeLike
        Type of the elements.
    added : bool
        States saved before the column was added lack it: their rows begin with the initial value.
    outer : int
        The last so many axes are the outermost in memory. Arithmetic on all entities of a block then runs over
        neighbouring numbers, and a slot of a profile is read and written without those beside it. What is saved has the
        usual order.
    """

    fill: float
    shape: tuple[int, ...] = ()
    dtype: DTypeLike = np.float64
    added: bool = False
    outer: int = 0

    def rows(self, count: int) -> NDArray[Any]:
        """Return `count` rows of new entities."""
        inner = len(self.shape) - self.outer
        shape = (*self.shape[inner:], count, *self.shape[:inner])
        # Zeros are not written: what no sample has reached yet takes no memory.
        array = np.full(shape, self.fill, self.dtype) if self.fill else np.zeros(shape, self.dtype)
        return np.moveaxis(array, range(self.outer), range(-self.outer, 0)) if self.outer else array

    def filled(self, count: int, rows: Where, source: NDArray[Any], of: Where) -> NDArray[Any]:
        """Return `count` rows of new entities with those `of` `source` in place of `rows`."""
        array = self.rows(count)
        for at in np.ndindex(array.shape[array.ndim - self.outer :]):
            part = source[(..., *at)]
            if not self.fill and not part.any():
                continue
            if isinstance(rows, slice) and not isinstance(of, slice):
                np.take(part, of, axis=0, out=array[(..., *at)][rows], mode="clip")  # half the time of an assignment
            else:
                array[(..., *at)][rows] = part[of]
        return array


class EntityState:
    """State arrays with one row per entity, in the order of `keys`.

    A job passes the same tuple of keys while its entities stay the same, and then the arrays are used without copying.
    The rows of entities that disappear are dropped, so memory is bounded by the number of current entities.

    Parameters
    ----------
    columns : mapping of str to Column
        The state arrays by name.

    Examples
    --------
    >>> entities = EntityState({"seen": Column(0.0)})
    >>> entities.align(((("pod", "a"),), (("pod", "b"),)))
    >>> entities["seen"] = np.array([1.0, 2.0])
    >>> entities.align(((("pod", "b"),), (("pod", "c"),)))
    >>> entities["seen"].tolist()
    [2.0, 0.0]
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        self._columns = dict(columns)
        self.keys: tuple[Key, ...] = ()
        self._arrays = {name: column.rows(0) for name, column in self._columns.items()}

    @property
    def names(self) -> tuple[str, ...]:
        """The columns."""
        return tuple(self._columns)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return the array of a column, shape (E, ...): the state itself, not a copy."""
        return self._arrays[name]

    def __setitem__(self, name: str, rows: NDArray[Any]) -> None:
        self._arrays[name][...] = rows

    def align(self, keys: tuple[Key, ...]) -> None:
        """Make the arrays follow `keys`: known entities keep their rows, new ones get initial rows."""
        if keys is not self.keys:
            self._arrays = self.view(keys)
            self.keys = keys

    def view(self, keys: tuple[Key, ...]) -> dict[str, NDArray[Any]]:
        """Return the arrays as they would be after `align(keys)`. The state does not change."""
        if keys is self.keys:
            return self._arrays
        # One dictionary look-up per entity, about 0.5 µs, and only in cycles in which the set of entities changed.
        row_of = {key: row for row, key in enumerate(self.keys)}
        old = np.fromiter((row_of.get(key, -1) for key in keys), np.int64, len(keys))
        known = old >= 0
        old = old[known]
        # Those that came stand behind those that stay.
        rows = slice(len(old)) if known[: len(old)].all() else np.flatnonzero(known)
        return {name: column.filled(len(keys), rows, self._arrays[name], old) for name, column in self._columns.items()}

    def adopt(self, keys: tuple[Key, ...], arrays: dict[str, NDArray[Any]]) -> None:
        """Do what `align(keys)` does, with what `view(keys)` returned since the state was changed."""
        self.keys, self._arrays = keys, arrays

    def blank(self, count: int) -> dict[str, NDArray[Any]]:
        """Return arrays of so many entities that nothing is known of. The state does not change."""
        return {name: column.rows(count) for name, column in self._columns.items()}

    def state(self) -> State:
        """Return copies of the keys and arrays, enough to restore."""
        return {KEYS_FIELD: encode_keys(self.keys), **{name: array.copy() for name, array in self._arrays.items()}}

    def restore(self, state: State) -> None:
        """Load what `state()` returned. Raises ValueError when columns or shapes differ."""
        needed = {name for name, column in self._columns.items() if not column.added}
        if missing := {KEYS_FIELD, *needed} - set(state):
            raise ValueError(f"the saved state lacks {', '.join(sorted(missing))}")
        keys = decode_keys(state[KEYS_FIELD])
        arrays = {}
        for name, column in self._columns.items():
            arrays[name] = column.rows(len(keys))
            if name not in state:
                continue
            if state[name].shape != arrays[name].shape:
                raise ValueError(f"the saved {name} has shape {state[name].shape}, not {arrays[name].shape}")
            arrays[name] = column.filled(len(keys), slice(None), state[name], slice(None))
        self.keys, self._arrays = keys, arrays


class LazyEntityState:
    """An EntityState that is created with the first batch, when the number of channels is known.

    Parameters
    ----------
    columns : callable
        Returns the columns of an entity with the given number of channels.
    per_channel : str
        Name of a column of shape (channels,): its saved array, shape (E, C), gives the number of channels of a state.
    """

    def __init__(self, columns: Callable[[int], Mapping[str, Column]], per_channel: str) -> None:
        self._columns, self._per_channel = columns, per_channel
        self._entities: EntityState | None = None
        self._viewed: tuple[tuple[Key, ...], dict[str, NDArray[Any]]] | None = None

    def of(self, channels: int) -> EntityState:
        """Return the state, created by the first call."""
        if self._entities is None:
            self._entities = EntityState(self._columns(channels))
        return self._entities

    def view(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """Return the arrays for the entities of `batch`. The state does not change."""
        entities, viewed = self.of(len(batch.channels)), self._viewed
        if viewed is not None and viewed[0] is batch.keys:
            return viewed[1]
        arrays = entities.view(batch.keys)
        self._viewed = None if batch.keys is entities.keys else (batch.keys, arrays)
        return arrays

    def align(self, batch: Batch) -> EntityState:
        """Return the state after making its rows follow the entities of `batch`."""
        entities, viewed = self.of(len(batch.channels)), self._viewed
        if viewed is not None and viewed[0] is batch.keys is not entities.keys:
            entities.adopt(*viewed)  # `score` has just made them: the state of 100,000 series is not copied again
        else:
            entities.align(batch.keys)
        self._viewed = None
        return entities

    def state(self) -> State:
        """Return keys and arrays; empty before the first batch."""
        return {} if self._entities is None else self._entities.state()

    def restore(self, state: State) -> None:
        """Load what `state()` returned; an empty one changes nothing. Raises ValueError when it does not fit."""
        if not state:
            return
        if self._per_channel not in state or state[self._per_channel].ndim != 2:
            raise ValueError(f"the saved state holds no {self._per_channel!r} by entity and channel")
        entities = EntityState(self._columns(state[self._per_channel].shape[1]))
        entities.restore(state)
        self._entities, self._viewed = entities, None


def position(rows: NDArray[np.intp], row: int) -> int | None:
    """Return where a row stands in ascending rows, None where it does not."""
    at = int(np.searchsorted(rows, row))
    return at if at < len(rows) and rows[at] == row else None


def encode_keys(keys: tuple[Key, ...]) -> NDArray[np.generic]:
    """Return the keys as an array of bytes, to be saved in a state."""
    return np.frombuffer(json.dumps(keys).encode(), np.uint8)


def decode_keys(array: NDArray[np.generic]) -> tuple[Key, ...]:
    """Return the keys that `encode_keys` encoded. Raises ValueError when the bytes are not such keys."""
    return tuple(tuple((str(name), str(value)) for name, value in key) for key in json.loads(array.tobytes()))


def encode_text(text: str) -> NDArray[np.generic]:
    """Return text as an array of bytes, for a state."""
    return np.frombuffer(text.encode(), np.uint8)


def decode_text(array: NDArray[np.generic]) -> str:
    """Return what `encode_text` was given. Raises ValueError."""
    return array.tobytes().decode()
