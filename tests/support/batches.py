"""Batches and key sets for tests of detectors and cycles."""

import numpy as np

from detectors import Batch, Detector, Floats, Judgement, Key

STEP = 60.0


def keys(count: int, prefix: str = "i") -> tuple[Key, ...]:
    """Return `count` distinct identities."""
    return tuple((("instance", f"{prefix}{n}"),) for n in range(count))


def batch(values: Floats, until: float = 0.0, names: tuple[Key, ...] | None = None) -> Batch:
    """Wrap values of shape (E, C, T), the newest sample at `until`."""
    entities, channels, samples = values.shape
    times = until - STEP * np.arange(samples - 1, -1, -1.0)
    return Batch(names or keys(entities), tuple(f"c{n}" for n in range(channels)), times, values)


def until(history: Batch, time: float) -> Batch:
    """Return the samples up to and including `time` (Unix seconds)."""
    end = int(np.searchsorted(history.times, time, side="right"))
    return Batch(history.keys, history.channels, history.times[:end], history.values[:, :, :end])


def noise(entities: int, channels: int, samples: int, seed: int = 0) -> Floats:
    """Return gaussian noise of deviation 1 around 100, shape (E, C, T)."""
    return np.random.default_rng(seed).normal(100.0, 1.0, (entities, channels, samples))


def walk(detector: Detector, history: Batch, start: int) -> list[Judgement]:
    """Judge and learn sample after sample from index `start` on, as the cycle does; a score above 1 is an incident."""
    judgements = []
    for end in range(start, len(history.times) + 1):
        part = Batch(
            history.keys,
            history.channels,
            history.times[max(end - detector.window, 0) : end],
            history.values[:, :, max(end - detector.window, 0) : end],
        )
        judgement = detector.score(part)
        with np.errstate(invalid="ignore"):
            held = judgement.score > 1
        detector.update(part.last(1), held, np.zeros(len(part.keys), np.bool_))
        judgements.append(judgement)
    return judgements
