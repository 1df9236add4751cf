"""Memory of an entity's incidents: when they opened, how large they became, when the entity was rebaselined."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.auto import recurrence
from detectors.auto.recurrence import Sides
from detectors.calibration import Rows
from detectors.entity_state import Column
from detectors.seasonality import SeasonalTime
from detectors.types import Flags, Floats
from detectors.units import DAY, HOUR

GRACE: Final = 6 * HOUR
"""Cool-down in seconds: no incident opens for so long after an entity was rebaselined."""
_FIRST_WEEK: Final = 8 * DAY
_FIRST_HOLD: Final = 6 * HOUR
"""Longest incident, in seconds, of an entity that has never seen this hour of the week."""


def columns() -> dict[str, Column]:
    """Return the state columns of an entity."""
    return {
        "held": Column(False, (), np.bool_),
        "opened": Column(np.nan),
        "opened_hour": Column(0, (), np.uint8),
        "opened_side": Column(0, (), np.uint8),
        "largest": Column(0.0),  # size of the open incident
        "grace": Column(-np.inf),  # end of the cool-down
        **recurrence.columns(),
    }


@dataclass(frozen=True, slots=True, eq=False)
class IncidentTransition:
    """Changes of the incidents of R entities at one sample; shape (R,) each."""

    frozen: Flags
    opening: Flags
    closing: Flags
    rebaselined: Flags

    @classmethod
    def of(cls, entity: Rows, frozen: Flags, rebaselined: Flags, at: SeasonalTime) -> "IncidentTransition":
        """Compare with the incidents open before. During the cool-down nothing is frozen: the level is learnt."""
        before = entity["held"]
        now = frozen & ~rebaselined & (at.time >= entity["grace"])
        return cls(now, now & ~before, before & ~now, rebaselined)

    @property
    def ended(self) -> Flags:
        """Where an incident has ended or the entity was rebaselined."""
        return self.closing | self.rebaselined

    @property
    def learn(self) -> Flags:
        """Where the sample counts as normal."""
        return ~self.frozen & ~self.closing


def too_long(rows: Rows, entity: Rows, owner: NDArray[np.intp], at: SeasonalTime) -> Flags:
    """Return the entities (R,) whose incident is too long for a first week: it may be their first weekend.

    `owner` holds the entity of each series in `rows`.
    """
    visits = rows["week_visits"]
    new = np.minimum(visits[:, at.week.before], visits[:, at.week.after]) < at.per_hour
    new &= rows["seen"] * at.step + rows["inherited"] < _FIRST_WEEK
    first = np.zeros(len(entity["held"]), np.bool_)
    first[owner[new]] = True
    with np.errstate(invalid="ignore"):
        return np.asarray(first & entity["held"] & (at.time - entity["opened"] >= _FIRST_HOLD))


def remember(
    entity: Rows,
    transition: IncidentTransition,
    size: Callable[[NDArray[np.intp]], Floats],
    side: Sides,
    unseen: Flags,
    at: SeasonalTime,
) -> None:
    """Record openings by side and hour of the day, and the largest `size` of incidents, which is asked by row.

    `unseen` marks deviations for which a mature series would have opened an incident. They count as openings too, so
    that a pattern which starts in the first week is known in the second.
    """
    new = np.flatnonzero(transition.opening | (unseen & ~transition.frozen))
    if len(new):
        new = new[recurrence.apart(entity, new, side[new], at)]
        recurrence.record_opening(entity, new, side[new], at)
        missed = new[~transition.opening[new]]
        recurrence.record_size(entity, missed, side[missed], at.hour, size(missed))
    entity["opened"][transition.opening] = at.time
    entity["opened_hour"][transition.opening] = at.hour
    entity["opened_side"][transition.opening] = side[transition.opening]
    largest, held = entity["largest"], np.flatnonzero(transition.frozen)
    largest[held] = np.maximum(largest[held], size(held))
    ended = np.flatnonzero(transition.closing)
    recurrence.record_size(entity, ended, entity["opened_side"][ended], entity["opened_hour"][ended], largest[ended])
    largest[ended] = 0.0
    entity["grace"][transition.rebaselined] = at.time + GRACE
    entity["held"][...] = transition.frozen


def discard(entity: Rows, which: NDArray[np.intp]) -> None:
    """Discard incidents that were closed because data is missing: their end was not observed."""
    entity["held"][which] = False
    entity["largest"][which] = 0.0
