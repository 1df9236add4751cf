"""Groups of entities with rhythm, heavy tails, common moves and outages, and faults of single members; from a seed."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.types import Floats, Key
from tests.support.cycles import DAY, HOUR

SIZES: Final = (3, 5, 12, 40)
LEARNT: Final = 14 * DAY
SAMPLES: Final = 21 * DAY
FAULTS: Final = ("1.3 x", "2 x", "slow member")
LENGTH: Final = 60


@dataclass(frozen=True)
class Fault:
    """What happens to one entity for an hour."""

    row: int
    at: int
    kind: str


@dataclass(frozen=True)
class World:
    """All series, of shape (E, N), and what was done to them."""

    keys: tuple[Key, ...]
    values: Floats
    size: Floats
    faults: list[Fault]
    moves: list[tuple[int, int, int]]
    """Group, and the first and last sample of what moved all of it."""

    @property
    def group_of(self) -> list[int]:
        return [int(dict(key)["group"]) for key in self.keys]


def world(seed: int, groups: int = 200, samples: int = SAMPLES, faults: int = 120) -> World:
    """Return so many groups of SIZES in turn; the last week has faults, at least six hours from any common move."""
    rng = np.random.default_rng(seed)
    keys: list[Key] = []
    parts, sizes, moves = [], [], []
    for number in range(groups):
        size = SIZES[number % len(SIZES)]
        values, moved = _group(rng, size, samples)
        parts.append(values)
        sizes += [size] * size
        moves += [(number, first, last) for first, last in moved]
        keys += [(("group", str(number)), ("member", f"{number}-{at}")) for at in range(size)]
    values = np.concatenate(parts)
    found = _faults(rng, values, np.array(sizes), [int(dict(key)["group"]) for key in keys], moves, faults)
    return World(tuple(keys), values, np.array(sizes, np.float64), found, moves)


def _group(rng: np.random.Generator, size: int, samples: int) -> tuple[Floats, list[tuple[int, int]]]:
    at = np.arange(samples)
    level, swing = 10 ** rng.uniform(0.0, 4.0), rng.uniform(0.1, 0.5)
    rhythm = 1 + swing * np.sin(2 * np.pi * (at / DAY + rng.random()))
    wander = np.exp(0.05 * _smoothed(rng.standard_normal(samples), rng.uniform(0.0, 0.95)))
    common, moved = rhythm * wander, []
    gains = rng.uniform(0.92, 1.08, size)
    lag = rng.integers(-1, 2, size)
    moves = np.ones((size, samples))
    for _ in range(rng.poisson(2.0 * samples / (7 * DAY))):
        first, length = int(rng.integers(HOUR, samples - 5 * HOUR)), int(rng.integers(15, 180))
        factor = 0.0 if rng.random() < 0.3 else float(np.exp(rng.choice([-1, 1]) * rng.uniform(0.3, 1.2)))
        ramp = int(rng.integers(1, 5))
        shape = np.clip(np.minimum((at - first) / ramp, (first + length - at) / ramp), 0.0, 1.0)
        for row in range(size):
            moves[row] *= 1 + (factor ** gains[row] - 1 if factor else -1.0) * np.roll(shape, lag[row])
        moved.append((first, first + length))
    deploy = int(rng.integers(DAY, samples - DAY))
    common *= np.where(at > deploy, rng.uniform(0.7, 1.4), 1.0)
    moved.append((deploy, deploy + 10))
    ratio = np.exp(rng.normal(0, 0.4, size))
    ratio[0] *= rng.choice([1.0, 10.0, 100.0])  # a primary
    apart = rng.random() < 0.3
    heavy, slow = rng.uniform(3.0, 8.0), rng.uniform(0.0, 0.8)
    width = rng.uniform(0.02, 0.12) * np.exp(rng.normal(0, 0.3, size))
    noise = np.stack([_smoothed(rng.standard_t(heavy, samples), slow) for _ in range(size)]) / np.sqrt(
        heavy / (heavy - 2)
    )
    whole = common * moves
    values = level * whole * (1 + width[:, None] * noise)
    values = values + level * (ratio[:, None] - 1) if apart else values * ratio[:, None]
    return np.maximum(values, 0.0) if not apart else values, moved


def _smoothed(noise: Floats, share: float) -> Floats:
    from scipy.signal import lfilter

    found: Floats = lfilter([np.sqrt(1 - share**2)], [1, -share], noise)
    return found


def _faults(
    rng: np.random.Generator,
    values: Floats,
    size: Floats,
    group_of: list[int],
    moves: list[tuple[int, int, int]],
    count: int,
) -> list[Fault]:
    """Change series in place: one fault a group at most."""
    samples, found = values.shape[1], []
    rows = rng.permutation(len(values))
    taken: set[int] = set()
    by_size = dict.fromkeys(SIZES, 0)
    for row in rows.tolist():
        group = group_of[row]
        if group in taken or by_size[int(size[row])] >= count // len(SIZES) or len(found) >= count:
            continue
        at = int(rng.integers(samples - 7 * DAY, samples - 3 * HOUR))
        if any(g == group and first - 6 * HOUR < at < last + 6 * HOUR for g, first, last in moves):
            continue
        kind = FAULTS[by_size[int(size[row])] % len(FAULTS)]
        factor = {"1.3 x": 1.3, "2 x": 2.0, "slow member": 1.6}[kind]
        grown = np.ones(LENGTH) if kind != "slow member" else np.minimum(np.arange(1, LENGTH + 1) / 5, 1.0)
        values[row, at : at + LENGTH] *= 1 + (factor - 1) * grown
        taken.add(group)
        by_size[int(size[row])] += 1
        found.append(Fault(row, at, kind))
    return found
