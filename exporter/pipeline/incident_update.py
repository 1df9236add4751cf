"""What one cycle changed about the incidents of a job's entities."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from detectors.types import Flags, Floats


@dataclass(frozen=True, slots=True, eq=False)
class IncidentUpdate:
    """Incidents after one cycle; arrays have shape (E,); `closed_severity` is 0 where none has just ended.

    `contribution`, shape (E, C), is the share of the severity by channel of the incidents that are open or just ended;
    NaN in the other rows.
    """

    flag: Flags
    changed: Flags
    adopted: Flags
    flapping: Flags
    severity: Floats
    since: Floats
    contribution: Floats
    closed_severity: Floats

    @classmethod
    def nothing(cls, entities: int, channels: int) -> "IncidentUpdate":
        """Return the update of entities without incidents."""
        none, zero, unknown = np.zeros(entities, np.bool_), np.zeros(entities), np.full(entities, np.nan)
        return cls(none, none, none, none, zero, unknown, np.full((entities, channels), np.nan), zero)

    def spread(self, rows: NDArray[np.intp] | slice, entities: int) -> "IncidentUpdate":
        """Return this update of `rows` as one of so many entities, in the others of which nothing is open."""
        columns = {}
        for each in fields(self):
            part = getattr(self, each.name)
            fill = np.nan if each.name in {"since", "contribution"} else 0
            columns[each.name] = np.full((entities, *part.shape[1:]), fill, part.dtype)
            columns[each.name][rows] = part
        return IncidentUpdate(**columns)
