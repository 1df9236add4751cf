"""How far every series was from its limit in each hour of three weeks, in two bytes an hour.

A distance is kept as a whole number of units. Each series has its own: the smallest power of two of which its largest
distance is at most 32,767, so that what is lost is at most 6.2e-5 of that; a forecast takes errors below 1e-4 of it for
none (`passage`). Rounding away from the limit, by powers of two, gives the same whether it is done once or in several
steps, and what was a little below the limit was not there. In single precision 100,000 series would take 100 MB more.
"""

from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from detectors.entity_state import Column, EntityState
from detectors.types import Floats
from exporter.context.growth import Rows
from exporter.context.passage import CELLS

_NONE: Final = np.iinfo(np.int16).min
"""There is no value of that hour."""
_MOST: Final = 2**15 - 1
COLUMNS: Final = {"past": Column(_NONE, (CELLS,), np.int16), "unit": Column(0.0)}
"""State columns; a unit of 0: nothing was ever away from the limit."""
OLD: Final = "cells"
"""Column of values, shape (E, CELLS), that states of earlier versions have instead."""
_AT_ONCE: Final = 256
Number = TypeVar("Number", bound=np.generic)


def read(entities: EntityState, rows: Rows | slice) -> Floats:
    """Return the distances of some series, shape (R, CELLS); NaN where there is none. The limit is 0, and is exact."""
    kept = entities["past"][rows]
    found: Floats = kept * entities["unit"][rows, np.newaxis]
    found[kept == _NONE] = np.nan
    return found


def put(entities: EntityState, rows: Rows | slice, hours: Rows, distances: Floats) -> None:
    """Keep distances, shape (R, H), of some series in some hours of the ring; NaN: there is none."""
    with np.errstate(invalid="ignore"):
        sizes = np.abs(np.where(np.isfinite(distances), distances, 0.0)).max(axis=1, initial=0.0)
    unit = entities["unit"][rows]
    grown = np.flatnonzero(sizes > _MOST * unit)
    if len(grown):
        _change_unit(entities, np.arange(len(entities.keys))[rows][grown], _unit_of(sizes[grown]))
        unit = entities["unit"][rows]
    there = np.where(unit > 0, unit, 1.0)[:, np.newaxis]
    numbers = _rounded(distances / there, ~np.isfinite(distances))
    at = (rows, hours) if isinstance(rows, slice) else np.ix_(rows, hours)
    entities["past"][at] = numbers


def forget(entities: EntityState, hours: Rows) -> None:
    """Forget some hours of the ring."""
    entities["past"][:, hours] = _NONE


def refine(entities: EntityState, rows: slice) -> None:
    """Give series a finer unit that were far away from their limit and are not any more."""
    kept = entities["past"][rows]
    most = np.abs(np.where(kept == _NONE, 0, kept)).max(axis=1, initial=0)
    coarse = (most > 0) & (most <= _MOST // 2)
    which = np.arange(len(entities.keys))[rows][coarse]
    _change_unit(entities, which, _unit_of(most[coarse] * entities["unit"][which]))


def move(entities: EntityState, by: float) -> None:
    """Let all distances be larger by so much: the limit is another one."""
    for rows in _parts(np.arange(len(entities.keys))):
        put(entities, rows, np.arange(CELLS), read(entities, rows) + by)


def _unit_of(largest: Floats) -> Floats:
    """Return the units in which distances are kept of which these are the largest."""
    unit = np.ldexp(1.0, np.maximum(np.frexp(largest)[1] - 15, -1000))
    return np.asarray(np.where(largest > _MOST * unit, 2 * unit, unit))


def _change_unit(entities: EntityState, rows: Rows, units: Floats) -> None:
    used = entities["unit"][rows] > 0  # else there are zeros at most
    for some, new in zip(_parts(rows[used]), _parts(units[used]), strict=True):
        kept, share = entities["past"][some], entities["unit"][some] / new
        entities["past"][some] = _rounded(kept * share[:, np.newaxis], kept == _NONE)
    entities["unit"][rows] = units


def _parts(rows: NDArray[Number]) -> list[NDArray[Number]]:
    return [rows[first : first + _AT_ONCE] for first in range(0, len(rows), _AT_ONCE)]


def _rounded(numbers: Floats, missing: NDArray[np.bool_]) -> NDArray[np.int16]:
    """Return numbers without their fractions, away from 0."""
    known = np.where(missing, 0.0, numbers)
    return np.where(missing, _NONE, np.copysign(np.ceil(np.abs(known)), known)).astype(np.int16)


def of_values(values: NDArray[np.generic], limit: float) -> dict[str, NDArray[np.generic]]:
    """Return the columns of values, shape (E, CELLS), as older states have them."""
    entities = EntityState(COLUMNS)
    entities.align(tuple((("row", str(row)),) for row in range(len(values))))
    for rows in _parts(np.arange(len(values))):
        put(entities, rows, np.arange(CELLS), values[rows].astype(np.float64) - limit)
    return {name: entities[name] for name in COLUMNS}
