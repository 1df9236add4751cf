"""Sixteen days of one-minute samples: two weeks as they usually are, and what happens on the Monday after."""

import numpy as np

from detectors import Floats
from tests.support.cycles import DAY, HOUR

SAMPLES = 16 * DAY
BEGIN = 14 * DAY + 10 * HOUR
END = BEGIN + 4 * HOUR


def usual(rng: np.random.Generator, samples: int, noise: float = 0.03) -> Floats:
    """Return a daily rhythm of 40 % that is weaker at weekends, with noise of wide tails; level and phase by chance."""
    at = np.arange(samples)
    weekend = at // DAY % 7 >= 5
    rhythm = 0.4 * np.sin(2 * np.pi * (at / DAY + rng.random())) * np.where(weekend, 0.6, 1.0)
    return 10 ** rng.uniform(0, 3) * (1 + rhythm + noise * rng.standard_t(4, samples))


def clean(rng):
    return usual(rng, SAMPLES)


def drop(rng):
    values = clean(rng)
    values[BEGIN:END] *= 0.2
    return values


def rise(rng):
    values = clean(rng)
    values[BEGIN:END] *= 4
    return values


def zero(rng):
    values = clean(rng)
    values[BEGIN:END] = 0
    return values


def stuck(rng):
    values = clean(rng)
    values[BEGIN:END] = values[BEGIN]
    return values


def leak(rng, hours):
    """40 % full with a daily rhythm, then in a straight line to 100 %."""
    at = np.arange(SAMPLES)
    values = 40 + 4 * np.sin(2 * np.pi * (at / DAY + rng.random())) + rng.standard_t(4, SAMPLES)
    return values + 60 * np.clip((at - BEGIN) / (hours * HOUR), 0, 1)


def restless(rng, factor):
    values = clean(rng)
    size = 0.03 * np.median(values) * np.sqrt(factor**2 - 1)
    values[BEGIN : BEGIN + 6 * HOUR] += size * rng.standard_t(4, 6 * HOUR)
    return values


def deploy(rng, factor, shift):
    values = clean(rng)
    values[BEGIN:] = factor * values[BEGIN:] + shift * np.median(values)
    return values


def nightly(rng, first):
    values = clean(rng)
    level = np.median(values)
    for day in range(first, SAMPLES // DAY):
        begin = day * DAY + 2 * HOUR + rng.integers(-3, 4)
        values[begin : begin + 20] += 1.2 * level * rng.uniform(0.9, 1.1)
    return values


def weekend(rng):
    values = clean(rng)
    values[np.arange(SAMPLES) // DAY % 7 >= 5] *= 0.3
    return values


def errors(rng):
    values = np.where(rng.random(SAMPLES) < 0.02, rng.integers(1, 4, SAMPLES), 0).astype(float)
    values[BEGIN : BEGIN + 30] += rng.poisson(40, 30)
    return values


def constant(rng):
    values = np.full(SAMPLES, 5.0)
    values[BEGIN : BEGIN + 3] = 5.001
    return values


RESETS = np.arange(DAY + 7 * HOUR, SAMPLES, 11 * HOUR + 7)


def counted(rng):
    """What becomes of a counter that restarts at zero every eleven hours, minute by minute."""
    counter = np.cumsum(np.abs(clean(rng)))
    for reset in RESETS:
        counter[reset:] -= counter[reset - 1]
    return np.diff(counter, prepend=np.nan), counter


def rate(rng):
    """As rate() has it: what is lower than before has begun anew at zero."""
    growth, counter = counted(rng)
    return np.where(growth < 0, counter, growth) / 60


def increments(rng):
    """As it is where the increment across a reset is left out."""
    growth, _ = counted(rng)
    return np.where(growth < 0, np.nan, growth)


def gap(rng):
    values = clean(rng)
    values[BEGIN : BEGIN + 10] = np.nan
    return values


def after_an_outage(rng):
    """The drop, five days after an outage that nobody labelled."""
    values = drop(rng)
    values[9 * DAY + 8 * HOUR : 9 * DAY + 14 * HOUR] = 0
    return values


SCENARIOS = {
    "drop of 80 %": drop,
    "rise to four times": rise,
    "drop to zero": zero,
    "stuck": stuck,
    "leak of a day": lambda rng: leak(rng, 24),
    "leak of three days": lambda rng: leak(rng, 72),
    "noise x4": lambda rng: restless(rng, 4),
    "deploy, +120 %": lambda rng: deploy(rng, 1.0, 1.2),
    "deploy, x2": lambda rng: deploy(rng, 2.0, 0.0),
    "nightly": lambda rng: nightly(rng, 0),
    "nightly, new": lambda rng: nightly(rng, 10),
    "weekend": weekend,
    "errors": errors,
    "constant": constant,
    "rate of a counter with resets": rate,
    "increments of a counter with resets": increments,
    "gap": gap,
    "drop after an outage": after_an_outage,
}
