"""Faults injected into some of thousands of series of all kinds, and which methods find those that moved."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import kolmogorov

from exporter.context.what_moved import moved_at

SERIES, FAULTS, OF_A_FAULT = 5000, 20, 10
BEFORE, AFTER = 110, 10
SAMPLES = BEFORE + AFTER


def noise(rng, n):
    return rng.normal(0, 1, (n, SAMPLES)) + rng.uniform(0, 100, (n, 1))


def correlated(rng, n):
    steps, found = rng.normal(0, 1, (n, SAMPLES)), np.zeros((n, SAMPLES))
    for at in range(1, SAMPLES):
        found[:, at] = 0.8 * found[:, at - 1] + steps[:, at]
    return found + rng.uniform(-50, 50, (n, 1))


def rhythm(rng, n):
    period, phase = rng.choice([30, 60, 1440], (n, 1)), rng.uniform(0, 2 * np.pi, (n, 1))
    wave = np.sin(2 * np.pi * np.arange(SAMPLES) / period + phase) * rng.uniform(2, 20, (n, 1))
    return wave + rng.normal(0, 1, (n, SAMPLES)) + 60


def counts(rng, n):
    return rng.poisson(rng.choice([0.2, 3.0, 30.0], (n, 1)), (n, SAMPLES)).astype(float)


def heavy(rng, n):
    return rng.standard_t(2, (n, SAMPLES)) + 20


def jumping(rng, n):
    level = np.cumsum(rng.choice([0, 1, -1], (n, SAMPLES), p=[0.94, 0.03, 0.03]) * rng.uniform(3, 30, (n, 1)), axis=1)
    return level + rng.normal(0, 1, (n, SAMPLES)) + 200


def wandering(rng, n):
    return np.cumsum(rng.normal(0, 1, (n, SAMPLES)), axis=1) + 500


def saw(rng, n):
    period = rng.integers(15, 50, (n, 1))
    return (np.arange(SAMPLES) + rng.integers(0, 50, (n, 1))) % period * 2.0 + rng.normal(0, 1, (n, SAMPLES))


def bursts(rng, n):
    return np.where(rng.random((n, SAMPLES)) < 0.03, rng.pareto(1.5, (n, SAMPLES)) * 50, 0) + rng.random((n, SAMPLES))


def still(rng, n):
    return np.repeat(rng.choice([0.0, 1.0, 42.0], (n, 1)), SAMPLES, axis=1)


KINDS = (noise, correlated, rhythm, counts, heavy, jumping, wandering, saw, bursts, still)


@dataclass
class Fault:
    values: np.ndarray
    companions: np.ndarray


def fault(seed: int) -> Fault:
    """Return SERIES series, of which OF_A_FAULT moved around sample BEFORE; others moved at other times."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(SERIES) % len(KINDS)
    values = np.empty((SERIES, SAMPLES))
    for kind, make in enumerate(KINDS):
        rows = np.flatnonzero(kinds == kind)
        values[rows] = make(rng, len(rows))
    chosen = rng.permutation(SERIES)
    companions, others = chosen[:OF_A_FAULT], chosen[OF_A_FAULT : OF_A_FAULT + SERIES // 25]
    spread = np.median(np.abs(np.diff(values, axis=1)), axis=1) + np.std(values[:, :BEFORE], axis=1) / 2
    spread = np.maximum(spread, 0.2)
    for row in companions:
        values[row] += _form(rng, BEFORE + int(rng.integers(-1, 5))) * spread[row] * rng.uniform(4, 10)
    for row in others:
        values[row] += _form(rng, int(rng.integers(10, BEFORE - 20))) * spread[row] * rng.uniform(4, 10)
    values[rng.random(values.shape) < 0.005] = np.nan
    return Fault(values, companions)


def _form(rng: np.random.Generator, at: int) -> np.ndarray:
    """Return a step, a ramp of five samples, or a hump of eight, up or down."""
    after = np.clip(np.arange(SAMPLES) - at, 0, None)
    form = [np.minimum(after, 1), np.minimum(after / 5, 1), ((after > 0) & (after <= 8))][rng.integers(3)]
    return form * rng.choice([-1.0, 1.0])


def ours(values: np.ndarray) -> np.ndarray:
    return moved_at(values, BEFORE).size


def netdata_ks(values: np.ndarray) -> np.ndarray:
    """Rank by Netdata's two-sample Kolmogorov-Smirnov test on differences, against four times as long before."""
    steps = np.diff(np.nan_to_num(values), axis=1)
    window, base = steps[:, -AFTER:], np.sort(steps[:, -5 * AFTER : -AFTER], axis=1)
    found = np.empty(len(values))
    for row in range(len(values)):
        every = np.concatenate([window[row], base[row]])
        one = np.searchsorted(np.sort(window[row]), every, side="right") / window.shape[1]
        other = np.searchsorted(base[row], every, side="right") / base.shape[1]
        n = window.shape[1] * base.shape[1] / (window.shape[1] + base.shape[1])
        root = np.sqrt(n)
        found[row] = 1 - kolmogorov((root + 0.12 + 0.11 / root) * np.abs(one - other).max())
    return found


def netdata_volume(values: np.ndarray) -> np.ndarray:
    """Rank by Netdata's volume: relative change of the mean, times the share of the window beyond the mean before."""
    window, base = values[:, -AFTER:], np.nanmean(values[:, -5 * AFTER : -AFTER], axis=1)
    mean = np.nanmean(window, axis=1)
    beyond = np.where((mean < base)[:, None], window < base[:, None], window > base[:, None]).mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(base != 0, np.abs((mean - base) / base) * beyond, beyond)


def by_chance(values: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).random(len(values))


METHODS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "what else moved": ours, "Netdata, Kolmogorov-Smirnov": netdata_ks, "Netdata, volume": netdata_volume,
    "random": by_chance,
}  # fmt: skip


@dataclass(frozen=True)
class Ranks:
    """How the companions of FAULTS faults were ranked by one method."""

    median: float
    top: float
    ten_first: float


def ranks(seed: int) -> dict[str, Ranks]:
    """Return the ranks of the true companions, 1 the best, by method."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in METHODS}
    for number in range(FAULTS):
        one = fault(seed * 1000 + number)
        for name, method in METHODS.items():
            score = np.nan_to_num(method(one.values), nan=-1.0)
            order = np.argsort(-score, kind="stable")
            rank = np.empty(SERIES)
            rank[order] = np.arange(1, SERIES + 1)
            found[name].append(rank[one.companions])
    return {
        name: Ranks(
            float(np.median(np.concatenate(each))),
            float(np.mean([np.mean(some <= 10) for some in each])),
            float(np.mean([some.min() for some in each])),
        )
        for name, each in found.items()
    }


if __name__ == "__main__":
    import sys

    for name, each in ranks(int(sys.argv[1]) if len(sys.argv) > 1 else 7).items():
        print(name, each)
