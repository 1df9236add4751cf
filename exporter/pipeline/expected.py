"""What is taken out of a verdict because people answered that it is expected; nothing that was learnt is changed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from detectors import streams
from detectors.entity_state import decode_keys, encode_keys
from detectors.types import Flags, Key, State
from exporter.pipeline.expectation import Reading, Said, expects
from exporter.pipeline.incident_update import IncidentUpdate
from exporter.pipeline.verdict import Verdict
from exporter.pipeline.worst_readings import ENDINGS, SHOWN_AFTER, Readings, Sample

_SIDES: Final = ("value", "expected", "lower", "upper")
_EXPECTED: Final = ENDINGS.index("expected")


@dataclass(frozen=True, slots=True)
class _Hidden:
    """An incident that is not shown: since when it is open, and when it was taken from view; NaN: never shown."""

    since: float
    taken: float


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What people are shown of the incidents of a sample: `flag`, `changed` and `hidden` have shape (E,)."""

    flag: Flags
    changed: Flags
    hidden: Flags
    readings: Readings

    def of(self, verdict: Verdict) -> Verdict:
        """Return a verdict as people are shown it."""
        hidden = self.hidden
        return replace(
            verdict,
            flag=self.flag,
            changed=self.changed,
            flapping=verdict.flapping & ~hidden,
            alert=verdict.alert & ~hidden,
            severity=np.where(hidden, 0.0, verdict.severity),
            since=np.where(hidden, np.nan, verdict.since),
            needed=None if verdict.needed is None else np.where(hidden, np.nan, verdict.needed),
            readings=self.readings,
            streams=None if verdict.streams is None else streams.only(verdict.streams, ~hidden),
            hidden=hidden if hidden.any() else None,
        )


class ExpectedIncidents:
    """Takes out of the verdicts of a job what people answered to be expected.

    It stands after everything that decides and learns, and is a function of that and of the answers, so that a verdict
    without an answer, or after it was taken back, is the one that would have been. An answer holds for samples later
    than itself: a backtest with the same answers repeats what was shown.
    """

    def __init__(self) -> None:
        self.answers: tuple[Said, ...] = ()
        """Those of the job; replaced as a whole, from any thread."""
        self._hidden: dict[Key, _Hidden] = {}
        self._keys: tuple[Key, ...] = ()
        self._wanted: frozenset[Key] = frozenset()
        self._rows: dict[Key, int] = {}

    def state(self) -> State:
        """Return which incidents are not shown."""
        each = tuple(self._hidden.values())
        times = {name: np.array([getattr(one, name) for one in each], np.float64) for name in ("since", "taken")}
        return {"keys": encode_keys(tuple(self._hidden)), **times}

    def restore(self, state: State) -> None:
        """Take over what `state()` returned; nothing of a version that knew no answers. Raises ValueError."""
        if state:
            times = (state[name].astype(np.float64).tolist() for name in ("since", "taken"))
            hidden = zip(decode_keys(state["keys"]), *times, strict=True)
            self._hidden = {key: _Hidden(since, taken) for key, since, taken in hidden}

    def show(
        self, keys: tuple[Key, ...], channels: tuple[str, ...], now: float, decision: IncidentUpdate, sample: Sample,
        readings: Readings,
    ) -> Shown | None:  # fmt: skip
        """Return what people are shown of the sample at `now` (Unix seconds), None where it is everything.

        Parameters
        ----------
        keys, channels : tuple
        now : float
        decision : IncidentUpdate
        sample : Sample
        readings : Readings
        """
        standing: dict[Key, list[Said]] = {}
        for said in self.answers:
            if said.stands(now):
                standing.setdefault(said.key, []).append(said)
        if not (standing or self._hidden):
            return None
        before, self._hidden = self._hidden, {}
        rows = self._rows_of(keys, frozenset(standing) | before.keys())
        was_flagged = decision.flag ^ decision.changed
        for key, row in rows.items():
            since, old = float(decision.since[row]), before.get(key)
            at = readings.of(row)
            if decision.flag[row]:
                about = [said.expectation for said in standing.get(key, ()) if said.expectation.covers(since, now)]
                if not about:
                    continue
                newest, worst, score = _readings(sample, row, readings, at)
                if any(expects(each, channels, newest, worst, score) for each in about):
                    if old is None or old.since != since:
                        old = _Hidden(since, now if old is None and was_flagged[row] else np.nan)
                    self._hidden[key] = old
            elif old is not None and at is not None and readings.start[at] == old.since:
                self._hidden[key] = old  # it ended unseen
        if not (before or self._hidden):
            return None
        return self._shown(rows, before, decision, was_flagged, now, readings)

    def _shown(
        self, rows: Mapping[Key, int], before: Mapping[Key, _Hidden], decision: IncidentUpdate, was_flagged: Flags,
        now: float, readings: Readings,
    ) -> Shown:  # fmt: skip
        hidden, was_hidden = np.zeros_like(decision.flag), np.zeros_like(decision.flag)
        hidden[[rows[key] for key in self._hidden if key in rows]] = True
        was_hidden[[rows[key] for key in before if key in rows]] = True
        hidden &= decision.flag
        flag = decision.flag & ~hidden
        keep = np.ones(len(readings.rows), np.bool_)
        end, ending = readings.end.copy(), readings.ending.copy()
        for key, each in self._hidden.items():
            at = readings.of(rows[key]) if key in rows else None
            if at is None or readings.start[at] != each.since:
                continue
            keep[at] = now - each.taken < SHOWN_AFTER  # never where it was never seen
            if keep[at]:
                end[at], ending[at] = each.taken, _EXPECTED
        names = (name for name in Readings.__slots__ if name not in {"rows", "end", "ending", "streams"})
        shown = Readings(
            rows=readings.rows[keep], end=end[keep], ending=ending[keep],
            **{name: getattr(readings, name)[keep] for name in names},
            streams=None if readings.streams is None else streams.take(readings.streams, np.flatnonzero(keep)),
        )  # fmt: skip
        return Shown(flag, flag != (was_flagged & ~was_hidden), hidden, shown)

    def _rows_of(self, keys: tuple[Key, ...], wanted: frozenset[Key]) -> dict[Key, int]:
        """Return the rows of the wanted entities that are there; a pass over all only where some have changed."""
        if keys is not self._keys or wanted != self._wanted:
            self._keys, self._wanted = keys, wanted
            self._rows = {key: row for row, key in enumerate(keys) if key in wanted}
        return self._rows


def _readings(sample: Sample, row: int, readings: Readings, at: int | None) -> tuple[Reading, Reading | None, float]:
    newest = Reading(*(getattr(sample, name)[row].tolist() for name in _SIDES))
    if at is None:
        return newest, None, np.nan
    worst = Reading(*(getattr(readings, name)[at].tolist() for name in _SIDES))
    return newest, worst, float(readings.score[at])
