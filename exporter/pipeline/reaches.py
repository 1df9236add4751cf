"""When the series of a job reach their limit: what a verdict says of it."""

import math
from dataclasses import dataclass, field

import numpy as np

from detectors.types import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Cone:
    """How a series goes on, with an interval of 90 %, in the unit of the query.

    Parameters
    ----------
    limit : float
    channel : int
    past_times, past : Floats, shape (P,)
        Ends of hours (Unix seconds), and the value nearest to the limit in each; NaN where nothing was seen.
    times : Floats, shape (N,)
        Unix seconds, from now on.
    early, expected, late : Floats, shape (N,)
        The value nearest to the limit until then: with 5, 50 and 95 % of what may come on the far side of it.
    """

    limit: float
    channel: int
    past_times: Floats
    past: Floats
    times: Floats
    early: Floats
    expected: Floats
    late: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Reaches:
    """When the limit is reached.

    Parameters
    ----------
    limit : float
    channel : int
        Which it is about.
    early, expected, late : Floats, shape (E,)
        Unix seconds: the ends of the interval of 90 % and its middle; all are in the past where the limit has been
        reached since. Infinite: not in sight. NaN: nothing is known.
    states : dict of str to int
        Series by what is known: `ahead` (the early end is in sight), `reached`, `not_in_sight`, and `learning`, of whom
        too little is known.
    within : float
        Seconds from now up to which the limit is near (`forecast.within`).
    """

    limit: float
    channel: int
    early: Floats
    expected: Floats
    late: Floats
    states: dict[str, int] = field(default_factory=dict)
    within: float = math.inf

    @classmethod
    def of(
        cls, limit: float, channel: int, ends: tuple[Floats, Floats, Floats], reached: Floats, within: float
    ) -> "Reaches":
        """Return it with its states.

        Parameters
        ----------
        limit : float
        channel : int
        ends : tuple of three Floats, shape (E,)
            As the fields; they are changed where the limit has been reached.
        reached : Floats, shape (E,)
            Unix seconds since when, NaN where it has not.
        within : float
        """
        past = np.isfinite(reached)
        for end in ends:
            end[past] = reached[past]
        early = ends[0]
        states = {
            "ahead": int((np.isfinite(early) & ~past).sum()),
            "reached": int(past.sum()),
            "not_in_sight": int(np.isinf(early).sum()),
            "learning": int(np.isnan(early).sum()),
        }
        return cls(limit, channel, *ends, states, within)
