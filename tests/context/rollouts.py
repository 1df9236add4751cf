"""Services with rollouts, good and bad, and with faults that have nothing to do with them; all from a seed."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.types import Floats
from tests.support.cycles import DAY, HOUR, MONDAY, STEP
from tests.support.scenarios import usual

KINDS: Final = ("latency", "errors", "cpu", "memory", "requests")
LEARNT: Final = 2 * DAY
"""Samples before the first rollout."""
SAMPLES: Final = LEARNT + DAY + 6 * HOUR


@dataclass(frozen=True)
class Rollout:
    """One deploy of a service.

    `at` and `fault` are samples; `fault` is where something unrelated or, of a bad rollout, its consequence begins.
    """

    service: str
    version: str
    at: int
    bad: bool = False
    fault: int | None = None

    @property
    def time(self) -> float:
        return MONDAY + self.at * STEP


def _normal(rng: np.random.Generator, kind: str) -> Floats:
    level = {"latency": 0.2, "errors": 0.002, "cpu": 1.5, "memory": 2e9, "requests": 300.0}[kind]
    level *= rng.uniform(0.5, 2.0)
    shape = usual(rng, SAMPLES, noise=0.0)
    shape = shape / np.mean(shape)
    noise = rng.standard_t(5, SAMPLES)
    if kind == "latency":
        return level * shape**0.3 * np.exp(0.06 * noise)
    if kind == "errors":
        return level * np.exp(0.35 * noise) / 1.06
    if kind == "memory":
        drift = np.cumsum(rng.normal(0, 0.0004, SAMPLES))
        return level * (1 + 0.03 * np.sin(np.arange(SAMPLES) / 400) + drift - np.linspace(0, drift[-1], SAMPLES))
    return level * shape * (1 + 0.04 * noise)


def _settle(rng: np.random.Generator, minutes: float, length: int) -> Floats:
    """Return how a rollout of so many minutes is felt, from 1 to 0: instance by instance, then it is over."""
    at = np.arange(length)
    return np.where(at < minutes, rng.uniform(0.5, 1.0, length), np.exp(-(at - minutes) / rng.uniform(0.5, 1.5)))


def _roll(rng: np.random.Generator, kind: str, values: Floats, at: int) -> None:
    """Change a series in place as a good rollout does."""
    length = 2 * HOUR
    felt = _settle(rng, rng.uniform(1, 5), length)
    part = values[at : at + length]
    felt = felt[: len(part)]
    if kind == "latency":
        part *= 1 + rng.uniform(0.2, 2.0) * felt
    elif kind == "errors":
        part += rng.uniform(0.0, 0.02) * felt
    elif kind == "cpu":
        part *= 1 + rng.uniform(0.3, 1.5) * felt
    elif kind == "memory":  # caches are empty, and fill again
        part *= 1 - rng.uniform(0.1, 0.35) * np.exp(-np.arange(len(part)) / rng.uniform(10, 40))
    else:
        part *= 1 - rng.uniform(0.0, 0.3) * felt
    values[at + length :] *= rng.uniform(0.97, 1.03)  # a release is never quite like the one before


def _break(rng: np.random.Generator, kind: str, values: Floats, at: int, length: int) -> None:
    """Change a series in place as a fault does."""
    part = values[at : at + length]
    grown = np.minimum((np.arange(len(part)) + 1) / rng.uniform(1, 3), 1.0)
    if kind == "latency":
        part *= 1 + rng.uniform(1.5, 6.0) * grown
    elif kind == "errors":
        part += rng.uniform(0.05, 0.4) * grown
    elif kind == "cpu":
        part *= 1 + rng.uniform(1.0, 2.0) * grown
    elif kind == "requests":
        part *= 1 - rng.uniform(0.4, 0.9) * grown


def _damage(rng: np.random.Generator) -> list[str]:
    """Return which kinds show a fault: errors or latency, and most often another one."""
    first = str(rng.choice(["latency", "errors"]))
    others = [kind for kind in ("latency", "errors", "cpu", "requests") if kind != first and rng.random() < 0.5]
    return [first, *others]


@dataclass(frozen=True)
class World:
    """All series, by service and kind, and what was done to them."""

    series: dict[tuple[str, str], Floats]
    rollouts: list[Rollout]
    later: list[Rollout]


def world(seed: int, good: int = 50, bad: int = 20, later: int = 20) -> World:
    """Return so many services with one rollout each; `later` of the good ones fail hours after it."""
    rng = np.random.default_rng(seed)
    series, rollouts, after = {}, [], []
    for number in range(good + bad):
        service, at = f"service-{number}", LEARNT + int(rng.integers(0, DAY))
        is_bad = number >= good
        own = {kind: _normal(rng, kind) for kind in KINDS}
        for kind, values in own.items():
            _roll(rng, kind, values, at)
        fault = at + int(rng.integers(0, 3)) if is_bad else None
        if number < later:
            fault = at + int(rng.integers(2 * HOUR, 4 * HOUR))
            after.append(Rollout(service, f"v1.{number}", at, fault=fault))
        if fault is not None:
            for kind in _damage(rng):
                _break(rng, kind, own[kind], fault, 90)
        rollouts.append(Rollout(service, f"v1.{number}", at, is_bad, fault))
        series |= {(service, kind): values for kind, values in own.items()}
    return World(series, rollouts, after)
