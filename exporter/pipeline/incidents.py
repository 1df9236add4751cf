"""From scores to incidents: when an incident begins, and when it ends."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.entity_state import Column, EntityState
from detectors.types import Flags, Floats, Key, State
from exporter.config.sections.job import JobConfig
from exporter.pipeline.incident_update import IncidentUpdate
from exporter.pipeline.policy import INVALID_SCORE, STAYS_OPEN

NO_DATA_CLOSES: Final = 3600.0
"""Seconds without a verdict after which an open incident is closed: nothing is known any more."""


OUTSIDE: Final = 2
"""Samples inside the valid range with a score above STAYS_OPEN after which an incident is the detector's own: the first
one may be about the jump back."""


class IncidentTracker:
    """Open incidents of a job's entities, with hysteresis.

    An incident opens after `open_after` scores above 1 in a row and closes when `clear_after` seconds have passed
    without one above STAYS_OPEN. While an entity has no verdict its flag stays and the clock stands still. An incident
    of a value outside the valid range closes as soon as all are inside, unless the detector goes on to call them
    anomalous. After `max_hold` seconds the level is adopted as normal once it does not move any more. Severity is the
    sum over minutes of ln(score) while the score is above 1.

    An entity whose incidents opened and closed more than `flap_limit` times within `flap_window` seconds is flapping:
    its incident is held open until none has opened or closed for as long, so that one unsteady series is one incident.

    Parameters
    ----------
    step, open_after, clear_after, max_hold, flap_limit, flap_window
        As in the configuration of a job; times in seconds.
    channels : int
        How many share the contribution.
    """

    def __init__(
        self,
        step: float,
        open_after: int,
        clear_after: float,
        max_hold: float,
        flap_limit: int = 4,
        flap_window: float = 3600.0,
        channels: int = 1,
    ) -> None:
        self._step, self._open_after, self._clear_after, self._max_hold = step, open_after, clear_after, max_hold
        self._flap_limit, self._flap_window = flap_limit, flap_window
        self._roster = EntityState(
            {
                "open": Column(False, (), np.bool_),
                "above": Column(0, (), np.int64),
                "calm": Column(0.0),
                "silent": Column(0.0),
                "since": Column(np.nan),
                "severity": Column(0.0),
                "contribution": Column(0.0, (channels,)),
                "turns": Column(-np.inf, (flap_limit + 1,)),
                "flapping": Column(False, (), np.bool_),
                "outside": Column(0, (), np.int64),  # see OUTSIDE
            }
        )

    @classmethod
    def of(cls, job: JobConfig) -> "IncidentTracker":
        """Return a tracker for a configured job."""
        return cls(
            step=job.step,
            open_after=job.open_after,
            clear_after=job.clear_after,
            max_hold=job.max_hold,
            flap_limit=job.flap_limit,
            flap_window=job.flap_window,
            channels=len(job.queries),
        )

    def reconfigured(self, job: JobConfig) -> "IncidentTracker":
        """Return a tracker for a configured job with the incidents that are open here."""
        other = IncidentTracker.of(job)
        other.restore(self.state())
        return other

    def state(self) -> State:
        """Return the open incidents."""
        return self._roster.state()

    def restore(self, state: State) -> None:
        """Take over what `state()` returned, under whatever `flap_limit`. Raises ValueError when it does not fit."""
        turns = state.get("turns")
        if turns is not None and turns.ndim == 2:
            newest = np.full((len(turns), self._flap_limit + 1), -np.inf)
            newest[:, : turns.shape[1]] = turns[:, : newest.shape[1]]
            state = {**state, "turns": newest}
        if turns is not None:  # a state of a version without this column
            state = {"outside": np.zeros(len(turns), np.int64), **state}
        self._roster.restore(state)

    def open_since(self, keys: tuple[Key, ...]) -> Floats:
        """Return since when an incident of each entity is open, shape (E,), Unix seconds; NaN where none is."""
        self._roster.align(keys)
        since: Floats = self._roster["since"]
        return since

    def weigh_again(self, rows: Flags) -> None:
        """Let open incidents gather their severity anew; `rows`, shape (E,), are of the keys of the last call."""
        for name in ("severity", "contribution"):
            self._roster[name][rows] = 0.0

    def hold(self, keys: tuple[Key, ...], since: Floats) -> None:
        """Begin with open incidents of `keys`, each since the time in `since`, shape (E,), Unix seconds."""
        self._roster.align(keys)
        self._roster["open"], self._roster["since"] = np.ones(len(keys), np.bool_), since

    def decide(
        self,
        keys: tuple[Key, ...],
        score: Floats,
        now: float,
        elapsed: float,
        contribution: Floats | None = None,
        accepted: Flags | None = None,
        moving: Flags | None = None,
        inside: Flags | None = None,
    ) -> IncidentUpdate:
        """Take in the scores of the sample at `now`, `elapsed` seconds after the last one decided on.

        `contribution` is the share of each score by channel, shape (E, C). Open incidents of entities in `accepted`,
        shape (E,), end as if `max_hold` had passed; what is normal now tells nothing about how severe incidents are.
        The level of those in `moving` is not adopted yet. Those in `inside` have values, all inside the valid range.
        """
        r = self._roster
        r.align(keys)
        rows = self._concerned(score, now)
        if not isinstance(rows, slice) and not len(rows):
            return IncidentUpdate.nothing(len(keys), r["contribution"].shape[1])
        part = {name: r[name][rows] for name in r.names}
        nobody = np.zeros(len(part["open"]), np.bool_)
        some = (nobody if flags is None else flags[rows] for flags in (accepted, moving, inside))
        shares = None if contribution is None else contribution[rows]
        update = self.advance(part, score[rows], now, elapsed, shares, *some)
        for name, column in part.items():
            r[name][rows] = column
        return update.spread(rows, len(keys))

    def _concerned(self, score: Floats, now: float) -> NDArray[np.intp] | slice:
        """Return the rows with an incident, on the way to one or not long after it; in the others nothing changes."""
        r = self._roster
        newest_turn = r["turns"][:, 0]
        with np.errstate(invalid="ignore"):
            some = (score > 1) | r["open"] | r["flapping"] | (r["above"] != 0) | (r["outside"] != 0)
        some |= newest_turn > now - self._flap_window
        some |= np.isnan(score) & (newest_turn > -np.inf)  # their clock stands still
        rows = np.flatnonzero(some)
        return rows if 2 * len(rows) < len(some) else slice(None)

    def blank(self, count: int) -> dict[str, NDArray[Any]]:
        """Return the rows of so many entities of which nothing is known yet, for `advance`."""
        return self._roster.blank(count)

    def advance(
        self,
        r: dict[str, NDArray[Any]],
        score: Floats,
        now: float | Floats,
        elapsed: float,
        contribution: Floats | None,
        accepted: Flags,
        moving: Flags,
        inside: Flags,
    ) -> IncidentUpdate:
        """Decide as `decide` does, on rows by column, which are replaced or changed in place.

        Rows do not look at each other, so that `now` may be one time for all or one for each, shape (E,).
        """
        before = r["open"] | r["flapping"]
        known = np.isfinite(score)
        with np.errstate(invalid="ignore"):
            hot, warm = score > 1, score > STAYS_OPEN
        r["above"] = np.where(known, np.where(hot, r["above"] + 1, 0), r["above"])
        r["silent"] = np.where(known, 0.0, r["silent"] + elapsed)
        r["calm"] = np.where(known, np.where(warm, 0.0, r["calm"] + elapsed), r["calm"])
        opening = ~r["open"] & (r["above"] >= self._open_after) & hot
        calmed = r["open"] & known & ~warm & (r["calm"] >= self._clear_after)
        calmed |= _is_back(r, score, inside, warm)
        adopted = before & (accepted | ((now - r["since"] >= self._max_hold) & ~moving))
        ended = adopted | (before & (r["silent"] >= NO_DATA_CLOSES))
        r["since"] = np.where(opening & ~before, now, r["since"])
        gain = self._step / 60.0 * np.log(np.where(hot, np.clip(score, 1.0, 1e9), 1.0))
        r["severity"] = np.where(before | opening, r["severity"] + gain, 0.0)
        if contribution is not None:
            r["contribution"] = np.where(
                (before | opening)[:, None], r["contribution"] + gain[:, None] * np.nan_to_num(contribution), 0.0
            )
        r["open"] = (r["open"] | opening) & ~calmed & ~ended
        r["flapping"] = self._flaps(r, opening | calmed, ended, known, now, elapsed)
        flag = r["open"] | r["flapping"]
        closing = (before | opening) & ~flag
        closed_severity, shares = np.where(closing & ~accepted, r["severity"], 0.0), _shares(r["contribution"])
        r["since"] = np.where(flag, r["since"], np.nan)
        r["severity"] = np.where(flag, r["severity"], 0.0)
        r["contribution"] = np.where(flag[:, None], r["contribution"], 0.0)
        r["above"] = np.where(calmed | ended, 0, r["above"])
        return IncidentUpdate(
            flag, flag != before, adopted, r["flapping"], r["severity"], r["since"], shares, closed_severity
        )

    def _flaps(
        self,
        r: dict[str, NDArray[Any]],
        turned: Flags,
        ended: Flags,
        known: Flags,
        now: float | Floats,
        elapsed: float,
    ) -> Flags:
        """Return which entities are flapping, after those that `turned` opened or closed an incident of their own."""
        turns = r["turns"]  # the newest in front
        if not known.all():
            turns[~known] += elapsed  # the clock stands still for them
        rows = np.flatnonzero(turned)
        if len(rows):
            turns[rows, 1:] = turns[rows, :-1]
            turns[rows, 0] = np.broadcast_to(now, turned.shape)[rows]
        if ended.any():
            turns[ended] = -np.inf
        too_many, unsettled = turns[:, -1] > now - self._flap_window, turns[:, 0] > now - self._flap_window
        flapping: Flags = unsettled & (r["flapping"] | too_many)
        return flapping


def _is_back(r: dict[str, NDArray[Any]], score: Floats, inside: Flags, warm: Flags) -> Flags:
    """Return whose incident is over because its values, and nothing else, lay outside the valid range."""
    r["outside"] = np.where(inside & warm, np.maximum(r["outside"] - 1, 0), r["outside"])
    back: Flags = (r["outside"] > 0) & inside & ~warm
    # The detector's own score would be larger, or smaller and not alone.
    r["outside"] = np.where(score == INVALID_SCORE, OUTSIDE, np.where(back, 0, r["outside"]))
    return np.asarray(back & r["open"])


def _shares(contribution: Floats) -> Floats:
    total = contribution.sum(axis=1, keepdims=True)
    shares: Floats = np.divide(contribution, total, out=np.full(contribution.shape, np.nan), where=total > 0)
    return shares
