"""Series of a whole fleet, and what befalls them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors import Flags, Floats
from detectors.types import Key
from detectors.units import DAY, HOUR, WEEK

MONDAY: Final = datetime(2026, 3, 2, tzinfo=UTC).timestamp()
FACTORS: Final = (0.2, 0.5, 4.0, 0.0)
"""What an incident multiplies its series by, in turns."""
LASTS: Final = 4 * HOUR


@dataclass(frozen=True)
class Trouble:
    """One failure: rows of the fleet, from sample `begin` until before sample `end`, times `factor`."""

    rows: NDArray[np.intp]
    begin: int
    end: int
    factor: float


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Series with daily and weekly season and autocorrelated noise of wide tails, in groups (`rack`) of equal size.

    Parameters
    ----------
    entities, group : int
        Series, and series of a group.
    step : float
        Seconds between samples.
    warm_up, weeks : float
        Weeks without failures that the detector and the budget learn from, and weeks that are measured.
    incidents : int
        Failures of a single series: four hours, in the measured weeks but for the last two days.
    failing_groups : int
        Failures of a fifth of a group, four hours, in the last two days.
    shared : float
        Share of the noise's variance, between 0 and 1, that the members of a group have in common; the day's rhythm
        then swings in common too.
    """

    entities: int
    group: int
    step: float = 60.0
    warm_up: float = 2.0
    weeks: float = 4.0
    incidents: int = 30
    failing_groups: int = 5
    shared: float = 0.0
    seed: int = 1
    troubles: tuple[Trouble, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "troubles", (*self._single(), *self._together()))

    @property
    def samples(self) -> int:
        """Samples of each series."""
        return round((self.warm_up + self.weeks) * WEEK / self.step)

    @property
    def measured_from(self) -> int:
        """First sample that counts."""
        return round(self.warm_up * WEEK / self.step)

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return -(-self.entities // self.group)

    @property
    def keys(self) -> tuple[Key, ...]:
        """Identities of the series."""
        return tuple((("host", f"h{row}"), ("rack", f"r{row // self.group}")) for row in range(self.entities))

    def _single(self) -> Iterator[Trouble]:
        rng = np.random.default_rng([self.seed, 1])
        length = round(LASTS / self.step)
        first, last = self.measured_from, self.samples - round(2 * DAY / self.step)
        turns = -(-max(self.incidents, 1) // self.entities)
        rows = np.concatenate([rng.permutation(self.entities) for _ in range(turns)])
        for number in range(self.incidents):  # spread evenly, so that two of one series do not meet
            place = (last - first) // self.incidents
            begin = first + number * place + int(rng.integers(0, max(place - length, 1)))
            yield Trouble(rows[number : number + 1], begin, begin + length, FACTORS[number % len(FACTORS)])

    def _together(self) -> Iterator[Trouble]:
        rng = np.random.default_rng([self.seed, 2])
        length, last = round(LASTS / self.step), self.samples - round(2 * DAY / self.step)
        for number, group in enumerate(rng.permutation(self.groups)[: self.failing_groups]):
            members = np.arange(group * self.group, min((group + 1) * self.group, self.entities))
            rows = rng.permutation(members)[: max(len(members) // 5, 2)]
            place = (self.samples - last) // self.failing_groups
            begin = last + number * place + int(rng.integers(0, max(place - 2 * length, 1)))
            yield Trouble(rows, begin, begin + length, 0.2)

    def affected(self, margin: float = HOUR) -> Flags:
        """Return where a failure is under way or `margin` seconds over, shape (entities, samples)."""
        there = np.zeros((self.entities, self.samples), np.bool_)
        for trouble in self.troubles:
            there[trouble.rows, trouble.begin : trouble.end + round(margin / self.step)] = True
        return there

    def values(self) -> Iterator[Floats]:
        """Yield the samples of one time after the other, shape (entities,)."""
        rng = np.random.default_rng([self.seed, 0])
        count, per_day = self.entities, round(DAY / self.step)
        level, size = 10 ** rng.uniform(0, 3, count), rng.uniform(0.1, 0.5, count)
        phase, weekend = rng.uniform(0, 1) + rng.normal(0, 0.04, count), rng.uniform(0.4, 1.0, count)
        noise, memory = rng.uniform(0.02, 0.08, count), rng.uniform(0, 0.9, count) ** (self.step / 60.0)
        degrees, of_group = rng.choice([3.0, 4.0], count), np.arange(count) // self.group
        scale = noise * np.sqrt((1 - memory**2) * (degrees - 2) / degrees)
        own, common = np.sqrt(1 - self.shared), np.sqrt(self.shared)
        by_begin: dict[int, list[Trouble]] = {}
        for trouble in self.troubles:
            by_begin.setdefault(trouble.begin, []).append(trouble)
        under_way: list[Trouble] = []
        state, swing = np.zeros(count), np.zeros(self.groups)
        for at in range(self.samples):
            within = at % per_day
            if within == 0:
                shocks = rng.standard_t(degrees[:, None], (count, per_day)) * own
                if self.shared:
                    together = rng.standard_t(3.5, (self.groups, per_day))
                    shocks += common * together[of_group]
                    swing = self.shared * rng.normal(0, 0.2, self.groups)
            state = memory * state + scale * shocks[:, within]
            damped = np.where(at // per_day % 7 >= 5, weekend, 1.0) * (1 + swing[of_group])
            value = level * (1 + size * damped * np.sin(2 * np.pi * (within / per_day + phase)) + state)
            under_way = [trouble for trouble in under_way if at < trouble.end] + by_begin.get(at, [])
            for trouble in under_way:
                value[trouble.rows] *= trouble.factor
            yield value
