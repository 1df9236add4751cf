"""Disks and queues that fill, and such as look as if they would; all from a seed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.types import Floats

EVERY: Final = 300.0
"""Seconds between samples."""
PER_HOUR: Final = 12
LEARNT: Final = 21 * 24 * PER_HOUR
"""Samples of the past that are known at the beginning."""
SAMPLES: Final = LEARNT + 10 * 24 * PER_HOUR


@dataclass(frozen=True)
class Fill:
    """One disk or queue.

    Parameters
    ----------
    kind : str
    used : Floats, shape (SAMPLES,)
        Share of the space that is used; 1 is full, and it stays so.
    full : int or None
        Sample at which it is full.
    """

    kind: str
    used: Floats
    full: int | None


def _hours(rng: np.random.Generator) -> Floats:
    return (np.arange(SAMPLES) + rng.uniform(0, 24 * PER_HOUR)) / PER_HOUR


def _noise(rng: np.random.Generator, size: float) -> Floats:
    return size * rng.standard_normal(SAMPLES)


def _line(rng: np.random.Generator, full: int | None = None) -> tuple[Floats, float]:
    """Return a line that is at 1 at sample `full`, by default somewhere in the known time, and its rise an hour."""
    full = int(rng.integers(LEARNT + 60, SAMPLES)) if full is None else full
    begin = rng.uniform(0.1, 0.6)
    rise = (1 - begin) / full
    return begin + rise * np.arange(SAMPLES), rise * PER_HOUR


def _teeth(rng: np.random.Generator, hours: float, irregular: float) -> Floats:
    """Return saw-teeth from 0 to about 1 of so many hours each."""
    out, at = np.empty(SAMPLES), 0
    first = rng.random()
    while at < SAMPLES:
        length = max(int(hours * PER_HOUR * np.exp(irregular * rng.standard_normal())), 3)
        rise = np.linspace(0, np.exp(0.5 * irregular * rng.standard_normal()), length)
        if at == 0:
            rise = rise[int(first * length) :]
        part = rise[: SAMPLES - at]
        out[at : at + len(part)] = part
        at += len(part)
    return out


def _rhythm(rng: np.random.Generator, day: float) -> Floats:
    hours = _hours(rng)
    return day * (np.sin(2 * np.pi * hours / 24) + 0.4 * np.sin(4 * np.pi * hours / 24 + rng.uniform(0, 6)))


def leak(rng: np.random.Generator) -> Floats:
    return _line(rng)[0] + _noise(rng, rng.uniform(0, 0.001))


def leak_and_rhythm(rng: np.random.Generator) -> Floats:
    return _line(rng)[0] + _rhythm(rng, rng.uniform(0.005, 0.04)) + _noise(rng, 0.001)


def stairs(rng: np.random.Generator) -> Floats:
    line, rise = _line(rng)
    hour = _hours(rng) % 24
    steps = np.where(hour < 3, hour / 3, 1.0)  # all of a day's growth within three hours
    return line + rise * 24 * (steps - hour / 24) + _noise(rng, 0.0005)


def uploads(rng: np.random.Generator) -> Floats:
    line, _ = _line(rng)
    grown = np.cumsum(rng.gamma(0.02, 1.0, SAMPLES))
    return line[0] + (line[-1] - line[0]) * grown / grown[-1]


def leak_below_teeth(rng: np.random.Generator) -> Floats:
    return 0.9 * _line(rng)[0] + rng.uniform(0.04, 0.12) * _teeth(rng, rng.uniform(3, 30), rng.uniform(0, 0.2))


def leak_after_clean_up(rng: np.random.Generator) -> Floats:
    line, rise = _line(rng)
    at = int(rng.integers(LEARNT // 3, LEARNT - 2 * 24 * PER_HOUR))
    drop = rng.uniform(0.2, 0.5)
    values = line - drop
    values[:at] += drop
    return values + rise / PER_HOUR * rng.uniform(0.5, 1.0) * np.maximum(np.arange(SAMPLES) - at, 0) + _noise(rng, 5e-4)


def new_leak(rng: np.random.Generator) -> Floats:
    base = rng.uniform(0.3, 0.7) + _rhythm(rng, rng.uniform(0.0, 0.02)) + _noise(rng, rng.uniform(0.0003, 0.002))
    at = int(rng.integers(LEARNT + 36, SAMPLES - 5 * 24 * PER_HOUR))
    hours = rng.uniform(24, 110)
    return base + np.maximum(np.arange(SAMPLES) - at, 0) * (1 - base[0]) / (hours * PER_HOUR)


def runaway(rng: np.random.Generator) -> Floats:
    base = rng.uniform(0.3, 0.7) + _rhythm(rng, rng.uniform(0.0, 0.02)) + _noise(rng, rng.uniform(0.0003, 0.002))
    at = int(rng.integers(LEARNT + 36, SAMPLES - 24 * PER_HOUR))
    hours = rng.uniform(4, 14)
    return base + np.maximum(np.arange(SAMPLES) - at, 0) * (1 - base[0]) / (hours * PER_HOUR)


def growing_faster(rng: np.random.Generator) -> Floats:
    full = int(rng.integers(LEARNT + 60, SAMPLES))
    begin = rng.uniform(0.1, 0.5)
    return begin * np.exp(np.log(1 / begin) * np.arange(SAMPLES) / full) + _noise(rng, 0.0005)


def stopped_consumers(rng: np.random.Generator) -> Floats:
    usual = 0.02 * np.exp(0.5 * _rhythm(rng, 1.0) + 0.4 * rng.standard_normal(SAMPLES))
    at = int(rng.integers(LEARNT + 36, SAMPLES - 3 * 24 * PER_HOUR))
    arriving = np.exp(0.4 * _rhythm(rng, 1.0)) / (rng.uniform(12, 60) * PER_HOUR)
    return usual + np.cumsum(np.where(np.arange(SAMPLES) >= at, arriving, 0.0))


def flat(rng: np.random.Generator) -> Floats:
    return rng.uniform(0.3, 0.9) + _noise(rng, rng.uniform(0.0005, 0.01))


def rotated_daily(rng: np.random.Generator) -> Floats:
    return rng.uniform(0.2, 0.5) + rng.uniform(0.1, 0.4) * _teeth(rng, 24, 0.0) + _noise(rng, 0.001)


def collected(rng: np.random.Generator) -> Floats:
    return rng.uniform(0.2, 0.5) + rng.uniform(0.1, 0.3) * _teeth(rng, rng.uniform(0.5, 8), 0.3) + _noise(rng, 0.002)


def compacted(rng: np.random.Generator) -> Floats:
    return rng.uniform(0.2, 0.4) + rng.uniform(0.1, 0.3) * _teeth(rng, rng.uniform(24, 90), 0.2) + _noise(rng, 0.001)


def rotated_weekly(rng: np.random.Generator) -> Floats:
    return rng.uniform(0.2, 0.5) + rng.uniform(0.1, 0.35) * _teeth(rng, 168, 0.0) + _noise(rng, 0.001)


def nightly_backup(rng: np.random.Generator) -> Floats:
    hour = _hours(rng) % 24
    height, hours = rng.uniform(0.1, 0.4), rng.uniform(2, 6)
    there = np.where(hour < hours, hour / hours, np.where(hour < hours + rng.uniform(0.5, 4), 1.0, 0.0))
    return rng.uniform(0.2, 0.5) + height * there + _noise(rng, 0.001)


def step_up(rng: np.random.Generator) -> Floats:
    at = int(rng.integers(LEARNT + 36, SAMPLES))
    lasts = rng.uniform(0.1, 2) * PER_HOUR
    grown = np.clip((np.arange(SAMPLES) - at) / lasts, 0, 1)
    return rng.uniform(0.2, 0.5) + rng.uniform(0.1, 0.3) * grown + _noise(rng, 0.001) + _rhythm(rng, 0.01)


def cleaned_up(rng: np.random.Generator) -> Floats:
    at = int(rng.integers(LEARNT - 48, SAMPLES))
    teeth = rng.uniform(0.05, 0.15) * _teeth(rng, 24, 0.0)
    return rng.uniform(0.6, 0.8) - np.where(np.arange(SAMPLES) >= at, 0.3, 0.0) + teeth + _noise(rng, 0.001)


def wandering(rng: np.random.Generator) -> Floats:
    values, pull = np.empty(SAMPLES), 1 / (rng.uniform(4, 24) * PER_HOUR)
    shocks, at = rng.standard_normal(SAMPLES) * np.sqrt(2 * pull), 0.0
    for n in range(SAMPLES):
        at += shocks[n] - pull * at
        values[n] = at
    return rng.uniform(0.3, 0.6) + rng.uniform(0.01, 0.06) * values


def busy_queue(rng: np.random.Generator) -> Floats:
    usual = 0.05 * np.exp(0.7 * _rhythm(rng, 1.0) + 0.3 * rng.standard_normal(SAMPLES))
    bursts = np.zeros(SAMPLES)
    for at in np.flatnonzero(rng.random(SAMPLES) < 1 / (20 * PER_HOUR)).tolist():
        up, down = rng.integers(3, 24), rng.integers(6, 48)
        shape = np.concatenate([np.linspace(0, 1, up), np.linspace(1, 0, down)]) * rng.uniform(0.05, 0.45)
        bursts[at : at + len(shape)] += shape[: SAMPLES - at]
    return usual + bursts


FILLING: Final[tuple[Callable[[np.random.Generator], Floats], ...]] = (
    leak, leak_and_rhythm, stairs, uploads, leak_below_teeth, leak_after_clean_up, new_leak, runaway, growing_faster,
    stopped_consumers,
)  # fmt: skip
HARMLESS: Final[tuple[Callable[[np.random.Generator], Floats], ...]] = (
    flat, rotated_daily, collected, compacted, rotated_weekly, nightly_backup, step_up, cleaned_up, wandering,
    busy_queue,
)  # fmt: skip


def fills(seed: int, count: int = 200) -> list[Fill]:
    """Return so many disks and queues: half of them fill within the ten days after the known time, half never do."""
    rng, found = np.random.default_rng(seed), list[Fill]()
    while len(found) < count:
        kinds = FILLING if len(found) % 2 else HARMLESS
        kind = kinds[len(found) // 2 % len(kinds)]
        used = np.clip(kind(rng), 0.0, 1.0)
        past = np.flatnonzero(used >= 1.0)
        full = int(past[0]) if len(past) else None
        if (full is None) == (kinds is FILLING) or (full is not None and full <= LEARNT + 12):
            continue  # by chance another thing than its name says
        if full is not None:
            used[full:] = 1.0
        found.append(Fill(kind.__name__, used, full))
    return found
