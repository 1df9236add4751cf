"""Faults put into samples where nothing is known to have been wrong: they tell whether a model notices anything."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np

from detectors.types import Batch, Floats, Key
from detectors.units import HOUR
from exporter.backtest.history import VerdictHistory
from exporter.config.sections.job import JobConfig
from exporter.labelled_incidents import LabelledIncident

SIZE: Final = 3.0
"""Ranges of the values in the held-out time by which a fault moves them: to where they never were."""
LARGEST: Final = 1e300
"""Most by which a fault moves a value, so that it stays finite."""
LASTS: Final = HOUR
LEAST: Final = 3
"""Seconds of a fault, less in a short held-out time; least samples, unless it takes more to open an incident."""
ENTITIES: Final = 20
EACH: Final = 5
"""Most entities with faults, and most faults of each."""
_APART: Final = 8
"""Faults are at least so many times their own length, and the time an incident needs to close, apart."""


@dataclass(frozen=True, slots=True)
class Fault:
    """From the first to one before the last column (steps since 1970) the values of an entity are moved by `size`."""

    first: int
    last: int
    size: Floats  # (C,)


def plan(verdicts: VerdictHistory, job: JobConfig, known: Sequence[LabelledIncident]) -> dict[Key, list[Fault]]:
    """Choose entities, times and sizes of faults, the same for the same samples; never where an incident is known."""
    length = max(min(math.ceil(LASTS / job.step), verdicts.columns // _APART), LEAST, job.open_after + 1)
    apart = _APART * (length + math.ceil(job.clear_after / job.step))
    count = min(max((verdicts.columns - 1) // apart, 1), EACH)
    sizes = _sizes(verdicts, job)
    faults: dict[Key, list[Fault]] = {}
    for row in sorted(range(len(verdicts.keys)), key=lambda row: _digest(verdicts.keys[row])):
        key = verdicts.keys[row]
        places = [round(verdicts.columns * (at + 1) / (count + 1)) for at in range(count)]
        found = []
        for number, at in enumerate(places):
            first, last = at, min(at + length, verdicts.columns)
            free = verdicts.present[row, max(first - 1, 0) : last].all() and last - first == length
            busy = [each for each in known if each.concerns(key)]
            begin, end = (
                verdicts.step * (verdicts.first + first - apart),
                verdicts.step * (verdicts.first + last + apart),
            )
            if free and not any(each.start <= end and each.end >= begin for each in busy):
                sign = {"above": 1, "below": -1}.get(job.direction, 1 - 2 * (number % 2))
                found.append(Fault(verdicts.first + first, verdicts.first + last, sign * sizes[row]))
        if found:
            faults[key] = found
        if len(faults) == ENTITIES:
            break
    return faults


def _sizes(verdicts: VerdictHistory, job: JobConfig) -> Floats:
    """Return by how much each channel is moved, shape (E, C): what never moves, by its own size."""
    lowest, highest = np.nan_to_num(verdicts.lowest), np.nan_to_num(verdicts.highest)
    level = np.maximum(np.abs(lowest), np.abs(highest))
    with np.errstate(over="ignore"):
        reach = SIZE * (highest - lowest)
    size = np.where(reach > 1e-9 * level, reach, np.maximum(level, 1.0))
    return np.clip(size, 2 * job.least_deviation, LARGEST)


class Inject:
    """Edits the newest column as planned."""

    def __init__(self, faults: dict[Key, list[Fault]], step: float) -> None:
        self._faults, self._step = faults, step
        self._last: tuple[tuple[Key, ...], list[tuple[int, Fault]]] = (), []

    def __call__(self, batch: Batch) -> None:
        """Move the values of the entities whose fault it is."""
        if batch.keys is not self._last[0]:
            rows = [(row, fault) for row, key in enumerate(batch.keys) for fault in self._faults.get(key, ())]
            self._last = batch.keys, rows
        at = round(float(batch.times[-1]) / self._step)
        for row, fault in self._last[1]:  # a hundred at most
            if fault.first <= at < fault.last:
                batch.values[row, :, -1] += fault.size


def count_found(verdicts: VerdictHistory, faults: dict[Key, list[Fault]]) -> tuple[int, int]:
    """Return how many faults there were, and how many opened an incident that was not open before."""
    row_of = {key: row for row, key in enumerate(verdicts.keys)}
    total = found = 0
    for key, every in faults.items():
        flag = verdicts.flag[row_of[key]] if key in row_of else np.zeros(verdicts.columns, np.bool_)
        for fault in every:
            first, last = fault.first - verdicts.first, fault.last - verdicts.first
            total += 1
            found += bool(flag[first:last].any() and not flag[first - 1])
    return total, found


def _digest(key: Key) -> bytes:
    return blake2b(repr(key).encode(), digest_size=8).digest()
