"""What an entity remembers of its incidents: when they opened, how large they grew, when their level was rebaselined."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.auto import recurrence
from detectors.calibration import Rows
from detectors.entity_state import Column
from detectors.seasonality import SeasonalTime
from detectors.types import Flags, Floats
from detectors.units import DAY, HOUR

GRACE: Final = 6 * HOUR
"""After a level was rebaselined nothing opens for so long."""
_FIRST_WEEK: Final = 8 * DAY
_FIRST_HOLD: Final = 6 * HOUR
"""Longest incident of an entity that has not lived through this hour of the week before."""


def columns() -> dict[str, Column]:
    """Return the state columns of an entity."""
    return {
        "held": Column(False, (), np.bool_),
        "opened": Column(np.nan),
        "opened_hour": Column(0, (), np.uint8),
        "largest": Column(0.0),  # size of the open incident
        "grace": Column(-np.inf),  # until when
        **recurrence.columns(),
    }


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """What happens to the incidents of R entities at one sample."""

    frozen: Flags
    opening: Flags
    closing: Flags
    rebaselined: Flags

    @classmethod
    def of(cls, entity: Rows, frozen: Flags, rebaselined: Flags, tick: SeasonalTime) -> "Turn":
        """Compare with what was open before. In grace nothing is frozen: what is now shall become normal."""
        before = entity["held"]
        now = frozen & ~rebaselined & (tick.time >= entity["grace"])
        return cls(now, now & ~before, before & ~now, rebaselined)

    @property
    def ended(self) -> Flags:
        """Where an incident has ended or a level was rebaselined."""
        return self.closing | self.rebaselined

    @property
    def learn(self) -> Flags:
        """Where the sample is normal, as far as one knows."""
        return ~self.frozen & ~self.closing


def too_long(rows: Rows, entity: Rows, owner: NDArray[np.intp], tick: SeasonalTime) -> Flags:
    """Return entities whose incident lasts too long for a first week: it may be their first weekend, shape (R,).

    `owner` is the entity of each series in `rows`.
    """
    visits = rows["week_visits"]
    new = np.minimum(visits[:, tick.week.before], visits[:, tick.week.after]) < tick.per_hour
    new &= rows["seen"] * tick.step + rows["inherited"] < _FIRST_WEEK
    first = np.zeros(len(entity["held"]), np.bool_)
    first[owner[new]] = True
    with np.errstate(invalid="ignore"):
        return np.asarray(first & entity["held"] & (tick.time - entity["opened"] >= _FIRST_HOLD))


def remember(entity: Rows, turn: Turn, size: Floats, unseen: Flags, tick: SeasonalTime) -> None:
    """Take note of openings by their hour of the day, and of how large incidents of this size grew.

    `unseen`: something a grown-up series would have opened for; it counts as an opening as well, so that a habit that
    begins in the first week is known in the second.
    """
    recurrence.decay(entity, tick)
    apart = recurrence.apart(entity, tick)
    unseen = unseen & apart & ~turn.frozen
    recurrence.count(entity, np.flatnonzero((turn.opening & apart) | unseen), tick)
    recurrence.grow(entity, np.flatnonzero(unseen), tick.hour, size[unseen])
    entity["opened"][turn.opening] = tick.time
    entity["opened_hour"][turn.opening] = tick.hour
    largest = entity["largest"]
    np.maximum(largest, size, out=largest, where=turn.frozen)
    ended = np.flatnonzero(turn.closing)
    recurrence.grow(entity, ended, entity["opened_hour"][ended], largest[ended])
    largest[ended] = 0.0
    entity["grace"][turn.rebaselined] = tick.time + GRACE
    entity["held"][...] = turn.frozen


def lose(entity: Rows, which: NDArray[np.intp]) -> None:
    """Forget incidents that were closed for want of data: nothing is known of how they ended."""
    entity["held"][which] = False
    entity["largest"][which] = 0.0
