"""Kinds of series as an SRE has them on screen, at any step, with changes whose time and size is known."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from detectors import Flags, Floats
from detectors.units import DAY, HOUR, WEEK

START: Final = datetime(2026, 3, 16, tzinfo=UTC).timestamp()
"""A Monday, 13 days before the clocks of Europe change."""
CHANGES: Final = (0.2, 0.5, 1.5, 2.0, 4.0)
"""What a change multiplies a series by."""
BURST: Final = (100.0,)
"""The same, where less happens by itself."""
LASTS: Final = 2 * HOUR
ZONE: Final = "Europe/Berlin"

Random = np.random.Generator


@dataclass(frozen=True, eq=False)
class Clock:
    """When the samples of a series are: Unix seconds, shape (N,), and the step between them."""

    times: Floats
    step: float

    def day(self, seconds: float = 0.0) -> Floats:
        """Return the share of the day that is over, `seconds` later."""
        return (self.times + seconds) / DAY % 1.0

    def local(self, zone: str) -> "Clock":
        """Return the same with the times that the clocks of a zone show."""
        tz = ZoneInfo(zone)
        hours = np.unique(self.times // HOUR)
        offsets = [datetime.fromtimestamp(hour * HOUR, tz).utcoffset().total_seconds() for hour in hours]
        return Clock(self.times + np.array(offsets)[np.searchsorted(hours, self.times // HOUR)], self.step)


Mean = Callable[[Random, Clock], Floats]
Draw = Callable[[Random, Floats, Clock], Floats]


@dataclass(frozen=True, eq=False)
class Shape:
    """What is expected at each sample, and the samples around it; the factors by which a change can be told at all.

    `unquiet`: seconds after a step of the mean itself, in which an incident does not come by chance.
    """

    mean: Mean
    draw: Draw
    sizes: tuple[float, ...] = CHANGES
    unquiet: float = 0.0


@dataclass(frozen=True)
class Change:
    """From sample `begin` until before sample `end` the mean is multiplied by `factor`."""

    begin: int
    end: int
    factor: float


@dataclass(frozen=True, eq=False)
class Made:
    """A series, shape (N,); where an incident comes by chance; and its changes."""

    values: Floats
    quiet: Flags
    changes: tuple[Change, ...]


def rhythm(rng: Random, clock: Clock, weekend: float = 0.7) -> Floats:
    """Return a day and a week around 1; the phase by chance."""
    size, phase = rng.uniform(0.25, 0.5), rng.random()
    day = 1 + size * np.sin(2 * np.pi * (clock.day() + phase)) + 0.2 * size * np.sin(4 * np.pi * (clock.day() + phase))
    is_weekend = (clock.times // DAY + 3) % 7 >= 5  # 1970 began on a Thursday
    return np.asarray(day * np.where(is_weekend, weekend, 1.0))


def level(rng: Random) -> float:
    """Return where a series lies: 1 to 1,000."""
    return float(10 ** rng.uniform(0, 3))


def noise(rng: Random, clock: Clock, width: float, memory: float = 0.5, degrees: float = np.inf) -> Floats:
    """Return autocorrelated noise of this standard deviation, `memory` from one minute to the next."""
    shocks = rng.standard_normal(len(clock.times))
    if np.isfinite(degrees):
        shocks = rng.standard_t(degrees, len(clock.times)) * np.sqrt((degrees - 2) / degrees)
    kept = memory ** (clock.step / 60.0)
    shocks *= width * np.sqrt(1 - kept**2)
    out, state = np.empty_like(shocks), 0.0
    for at, shock in enumerate(shocks.tolist()):
        out[at] = state = kept * state + shock
    return out


def relative(width: float, memory: float = 0.5, degrees: float = np.inf) -> Draw:
    """Return what draws samples with noise in proportion to the mean, never below zero."""
    return lambda rng, mean, clock: np.maximum(mean * (1 + noise(rng, clock, width, memory, degrees)), 0.0)


def _counts(rng: Random, mean: Floats, clock: Clock) -> Floats:
    return rng.poisson(np.maximum(mean, 0.0)).astype(float)


def _requests(per_minute: float) -> Shape:
    return Shape(lambda rng, clock: per_minute * clock.step / 60 * rhythm(rng, clock), _counts)


def _flat(rng: Random, clock: Clock) -> Floats:
    return np.full(len(clock.times), level(rng))


def _business(rng: Random, clock: Clock) -> Floats:
    return level(rng) * rhythm(rng, clock)


def _saw_teeth(rng: Random, clock: Clock) -> Floats:
    period = rng.uniform(5, 15) * HOUR
    return np.asarray(20 + 60 * (((clock.times - START) / period + rng.random()) % 1.0))


def _integers(rng: Random, mean: Floats, clock: Clock) -> Floats:
    return np.maximum(np.rint(mean * (1 + noise(rng, clock, 0.03))), 0.0)


def _two_levels(rng: Random, clock: Clock) -> Floats:
    """Change between two levels every two hours in the mean."""
    turns = rng.random(len(clock.times)) < clock.step / (2 * HOUR)
    return np.asarray(level(rng) * np.where(np.cumsum(turns) % 2, 5.0, 1.0))


def _queue(rng: Random, clock: Clock) -> Floats:
    """A queue that is 85 % busy: what came and was not served waits (Lindley's recursion)."""
    mean = 40 * clock.step / 60
    change = rng.poisson(0.85 * mean, len(clock.times)) - rng.poisson(mean, len(clock.times))
    walk = np.cumsum(change)
    return np.asarray(walk - np.minimum(np.minimum.accumulate(walk), 0), float)


def _deploys(rng: Random, clock: Clock) -> Floats:
    out = np.full(len(clock.times), level(rng))
    at = rng.uniform(3, 6) * DAY
    while at < clock.times[-1] - START:
        out[clock.times - START >= at] *= rng.choice([0.75, 1.3])
        at += rng.uniform(3, 6) * DAY
    return out


def _nightly(rng: Random, clock: Clock) -> Floats:
    out = _business(rng, clock)
    for day in np.unique(clock.times // DAY):
        begin = day * DAY + 2 * HOUR + 60 * rng.integers(-3, 4)
        out[(clock.times >= begin) & (clock.times < begin + 2400)] *= 2.2 * rng.uniform(0.95, 1.05)
    return out


def _coarse(rng: Random, mean: Floats, clock: Clock) -> Floats:
    grain = 0.1 * float(np.median(mean))
    return np.asarray(np.rint(relative(0.04)(rng, mean, clock) / grain) * grain)


def _drift(rng: Random, clock: Clock) -> Floats:
    return np.asarray(level(rng) * (1 + 0.03 * (clock.times - START) / DAY))


SHAPES: Final[dict[str, Shape]] = {
    "business": Shape(_business, relative(0.05, 0.6, degrees=4)),
    "requests, 3 a minute": _requests(3.0),
    "requests, 30 a minute": _requests(30.0),
    "requests, 300 a minute": _requests(300.0),
    "gauge, slow noise": Shape(_flat, relative(0.05, 0.95)),
    "saw-teeth": Shape(_saw_teeth, relative(0.01)),
    "integers": Shape(lambda rng, clock: rng.uniform(8, 30) * rhythm(rng, clock), _integers),
    "two levels": Shape(_two_levels, relative(0.02), sizes=(2.0, 4.0)),
    "mostly zero": Shape(lambda _, clock: np.full(len(clock.times), 0.03 * clock.step / 60), _counts, sizes=BURST),
    "queue": Shape(_queue, lambda _, mean, __: mean, sizes=BURST),
    "deploys": Shape(_deploys, relative(0.03), unquiet=26 * HOUR),
    "nightly batch": Shape(_nightly, relative(0.04)),
    "coarse values": Shape(_business, _coarse),
    "drift": Shape(_drift, relative(0.04)),
    "clock change": Shape(lambda rng, clock: _business(rng, clock.local(ZONE)), relative(0.04)),
}
ZONES: Final = {"clock change": ZONE}
"""Shapes whose job is told a time zone."""


def make(name: str, rng: Random, step: float, days: float, turn: int = 0, changes: int = 3) -> Made:
    """Make a series: the mean, a change of two hours (six samples at least) in each of the last days, and the samples.

    Parameters
    ----------
    name : str
        One of SHAPES.
    rng : Random
    step : float
        Seconds.
    days : float
    turn : int
        Number of the series: sizes take turns from here on.
    changes : int
        How many of the last days have one.
    """
    shape, samples = SHAPES[name], round(days * DAY / step)
    clock = Clock(START + step * np.arange(samples), step)
    mean = shape.mean(rng, clock)
    quiet = np.ones(samples, np.bool_)
    if shape.unquiet:
        for at in np.flatnonzero(np.diff(mean)):
            quiet[at : at + round(shape.unquiet / step)] = False
    those = tuple(_changes(rng, shape, samples, step, turn, changes))
    for each in those:
        mean[each.begin : each.end] *= each.factor
        quiet[each.begin - 1 : each.end + round(max(HOUR, 3 * step) / step)] = False
    return Made(shape.draw(rng, mean, clock), quiet, those)


def _changes(rng: Random, shape: Shape, samples: int, step: float, turn: int, count: int) -> Iterator[Change]:
    per_day, length = round(DAY / step), max(round(LASTS / step), 6)
    for number in range(count):
        first = samples - (count - number) * per_day
        begin = first + int(rng.integers(0, per_day - length - max(round(2 * HOUR / step), 3)))
        yield Change(begin, begin + length, shape.sizes[(turn + number) % len(shape.sizes)])


def weeks(quiet: NDArray[np.bool_], step: float) -> float:
    """Return how many weeks a mask covers."""
    return float(quiet.sum() * step / WEEK)
