"""The state of `auto` in rows: one for each series, and one for each entity."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.auto import evidence, frequency, incident_memory, multichannel
from detectors.calibration import Rows
from detectors.entity_state import Column


def _of_entity(channels: int) -> dict[str, Column]:
    return incident_memory.columns() | (multichannel.columns(channels) if channels > 1 else frequency.columns())


def columns(channels: int) -> dict[str, Column]:
    """Return the state columns of an entity with so many channels."""
    return evidence.columns((channels,)) | _of_entity(channels)


_OF_SERIES: Final = tuple(evidence.columns(()))
_OF_ENTITY: Final = tuple(_of_entity(1))
_OF_SEVERAL_CHANNELS: Final = tuple(_of_entity(2))


def of_entities(arrays: Mapping[str, NDArray[Any]], entities: slice, channels: int) -> Rows:
    """Return the rows of some entities, without those of their series."""
    names = _OF_ENTITY if channels == 1 else _OF_SEVERAL_CHANNELS
    return {name: arrays[name][entities] for name in names}


def of_series(arrays: Mapping[str, NDArray[Any]]) -> Rows:
    """Return the arrays with one row per series. They are views, because the rows of an entity are adjacent."""
    return {name: arrays[name].reshape(-1, *arrays[name].shape[2:]) for name in _OF_SERIES}


def part(rows: Rows, entities: slice, channels: int) -> Rows:
    """Return the rows of the series of some entities."""
    those = slice(entities.start * channels, entities.stop * channels)
    return {name: array[those] for name, array in rows.items()}


def taken(rows: Rows, which: NDArray[np.intp]) -> Rows:
    """Return the rows `which`: the arrays themselves if those are all rows, else copies."""
    size = len(next(iter(rows.values())))
    return rows if len(which) == size else {name: array[which] for name, array in rows.items()}


def put(rows: Rows, which: NDArray[np.intp], copies: Rows) -> None:
    """Write back the copies that `taken` made."""
    if copies is not rows:
        for name, array in copies.items():
            rows[name][which] = array
