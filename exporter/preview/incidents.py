"""The incidents of a tape, decided again by other settings: the same code as in a cycle, many series at a time."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.types import Flags, Floats
from exporter.config.sections.job import JobConfig
from exporter.pipeline.after_deploy import Caution
from exporter.pipeline.incidents import IncidentTracker
from exporter.pipeline.policy import STAYS_OPEN, Policy
from exporter.preview.stretches import Stretches
from exporter.preview.tape import Tape
from exporter.web.ui.graphs import runs_of

_Decided = tuple[Flags, Flags, Floats, Floats, Flags]
"""Flag, adopted, severity, closed severity, and whether caution was taken, shape (L, S)."""


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """Incidents (K), in the order of the stretches, and what happened in them sample by sample (M in all).

    Parameters
    ----------
    entity, joined : int64 arrays, shape (K,)
        Row of the entity, and the column in which it joined the job.
    first, end : int64 arrays, shape (K,)
        Column of the first sample, and the one after the last.
    closed : Floats, shape (K,)
        Severity that counts once it has ended; 0 where the tape or the entity ended first.
    at : int64 array, shape (K + 1,)
        Where its samples begin in the arrays of samples.
    column : int64 array, shape (M,)
    severity : Floats, shape (M,)
    cautious : Flags, shape (M,)
        Whether the score was lowered, after a deploy of the owner.
    """

    entity: NDArray[np.int64]
    joined: NDArray[np.int64]
    first: NDArray[np.int64]
    end: NDArray[np.int64]
    closed: Floats
    at: NDArray[np.int64]
    column: NDArray[np.int64]
    severity: Floats
    cautious: Flags


class Deciding:
    """Decides the incidents of a tape again; what does not depend on direction and size of deviations is made once.

    Parameters
    ----------
    tape : Tape
    job : JobConfig
        The settings of the replay. Later ones may differ in `direction`, `least_deviation` and `budget`.
    """

    def __init__(self, tape: Tape, job: JobConfig) -> None:
        self._tape, self._job = tape, job
        policy = Policy.of(job)
        shape = tape["value"].shape
        invalid = policy.invalid(tape["value"].reshape(-1, shape[2])).reshape(shape[:2])
        with np.errstate(invalid="ignore"):
            warm = (tape["score"] * policy.scale > STAYS_OPEN) | invalid
        columns, entities = np.nonzero(warm & tape["there"])
        self._warm = {
            name: tape[name][columns, entities] for name in ("value", "expected", "contribution", "direction", "score")
        }
        self._invalid = invalid[columns, entities]
        stretches = self.stretches = Stretches.of(tape, warm & tape["there"], job)
        self._where = stretches.positions(columns, entities, shape[:2])
        # A score that keeps nothing open is as good as 0, but one that is not known is not.
        self._calm = stretches.of_tape(np.where(np.isnan(tape["score"]), np.nan, 0.0), np.nan)
        times = np.broadcast_to(tape.times[:, None], shape[:2])
        finite = np.isfinite(tape["value"]).any(axis=2)
        self._now = stretches.of_tape(times)
        self._moving = stretches.of_tape(tape["moving"])
        self._inside = stretches.of_tape(finite & ~invalid)
        self._held = {name: stretches.of_tape(tape[name]) for name in ("frozen", "learnt", "unusual", "due", "adopted")}
        self._deployed = stretches.of_tape(tape["deployed"], np.nan)
        self._is_invalid = stretches.of_tape(invalid)
        self._last: tuple[Floats, _Decided] | None = None
        self._due_itself = stretches.of_tape(_due_itself(tape, job))

    def decide(self, job: JobConfig) -> tuple[Opened, Floats]:
        """Return the incidents by the settings of `job`, and from when on each entity would have learnt otherwise.

        The latter, shape (E,), is in Unix seconds; infinite where exactly the same is learnt. What is learnt depends on
        incidents that hold it back, or whose level becomes normal; after that time verdicts are not exact any more.
        """
        flag, adopted, severity, closed, cautious = self._run(job)
        return _opened(self.stretches, flag, severity, closed, cautious), self._differs(flag, adopted)

    def _scores(self, job: JobConfig) -> Floats:
        """Return the scores, shape (L, S)."""
        policy, warm = Policy.of(job), self._warm
        direction = warm["direction"] if self._tape.directed else None
        deviation = policy.deviation(warm["value"], warm["expected"], direction, warm["contribution"])
        counts = (policy.counts(deviation) & ~np.isnan(warm["value"])).any(axis=1)
        scores = self._calm.copy()
        scores.reshape(-1)[self._where] = policy.scores(warm["score"], counts, self._invalid)
        return scores

    def _run(self, job: JobConfig) -> _Decided:
        """Return flag, adopted, severity, closed severity and caution, shape (L, S).

        Only stretches with other scores than the last time are decided again: one setting moves a little at a time.
        """
        scores = self._scores(job)
        if self._last is None:
            fresh = np.arange(scores.shape[1])
            zero, none = np.zeros(scores.shape), np.zeros(scores.shape, np.bool_)
            found = none, none.copy(), zero, zero.copy(), none.copy()
        else:
            before, found = self._last
            with np.errstate(invalid="ignore"):
                other = (scores != before) & ~(np.isnan(scores) & np.isnan(before))
            fresh = np.flatnonzero(other.any(axis=0))
        self._last = scores, found
        self._advance(job, scores, fresh, found)
        return found

    def _advance(self, job: JobConfig, scores: Floats, fresh: NDArray[np.intp], found: _Decided) -> None:
        """Decide the stretches `fresh`, into the arrays `found`."""
        length = self.stretches.length[fresh]
        if not len(fresh):
            return
        most = int(length[0])
        running = (length[:, None] > np.arange(most)).sum(axis=0)
        score, now = (array[:most, fresh] for array in (scores, self._now))
        moving, inside = (array[:most, fresh] for array in (self._moving, self._inside))
        parts = [np.zeros(score.shape, array.dtype) for array in found]
        flag, adopted, severity, closed, cautious = parts
        deployed, invalid = (array[:most, fresh] for array in (self._deployed, self._is_invalid))
        heeds = np.isfinite(deployed).any(axis=1).tolist()
        tracker = IncidentTracker.of(job)
        rows = tracker.blank(len(fresh))
        nobody = np.zeros(len(fresh), np.bool_)
        for at, some in enumerate(running.tolist()):
            if some < len(rows["open"]):
                rows = {name: column[:some] for name, column in rows.items()}
            own = score[at, :some]
            if heeds[at]:
                own, cautious[at, :some] = _lowered(
                    job, own, rows, deployed[at, :some], now[at, :some], invalid[at, :some]
                )
            update = tracker.advance(
                rows, own, now[at, :some], job.step, None, nobody[:some], moving[at, :some],
                inside[at, :some],
            )  # fmt: skip
            flag[at, :some], adopted[at, :some] = update.flag, update.adopted
            severity[at, :some], closed[at, :some] = update.severity, update.closed_severity
        for array, part in zip(found, parts, strict=True):
            array[:most, fresh] = part

    def _differs(self, flag: Flags, adopted: Flags) -> Floats:
        held, found = self._held, np.full(len(self._tape.keys), np.inf)
        learnt = adopted | (held["due"] & ~flag)
        frozen = (flag | held["unusual"]) & ~learnt
        other = (frozen != held["frozen"]) | (learnt != held["learnt"])
        other |= (adopted != held["adopted"]) & ~self._due_itself  # it would have ended the hold too
        some = np.flatnonzero(other.any(axis=0))
        if not len(some):  # nothing to look for, and where nothing ever was unusual, no row to look in
            return found
        np.minimum.at(found, self.stretches.entity[some], self._now[other[:, some].argmax(axis=0), some])
        return found


def _lowered(
    job: JobConfig, score: Floats, rows: dict[str, NDArray[Any]], deployed: Floats, now: Floats, invalid: Flags
) -> tuple[Floats, Flags]:
    """Return scores as incidents are opened and weighed by them after deploys, and where they were lowered.

    The `rows` of open incidents of those for whom caution begins are changed: they gather their severity anew.
    """
    caution = Caution.of(job.deploys, deployed, now, job.step, rows["since"], invalid)
    if caution is None:
        return score, np.zeros(len(score), np.bool_)
    rows["severity"] = np.where(caution.begins, 0.0, rows["severity"])
    return caution.weighed(caution.lowered(score)), caution.rows


def _due_itself(tape: Tape, job: JobConfig) -> Flags:
    """Return where a hold ended because it was as old as `max_hold`, shape (N, E), whatever incidents did."""
    found = np.zeros(tape["due"].shape, np.bool_)
    for column, entity in np.argwhere(tape["due"]).tolist():  # one for each level adopted: few
        held = tape["unusual"][:column, entity]
        calm = np.flatnonzero(~held)
        began = int(calm[-1]) + 1 if len(calm) else 0
        age = tape.times[column] - tape.times[began] if began < column else 0.0
        found[column, entity] = age >= job.max_hold and not tape["moving"][column, entity]
    return found


def _opened(stretches: Stretches, flag: Flags, severity: Floats, closed: Floats, cautious: Flags) -> Opened:
    length = stretches.longest
    # A row of False between two stretches, so that what is open at the end of one does not go on in the next.
    runs = np.array(list(runs_of(np.pad(flag.T, ((0, 0), (0, 1))).reshape(-1))), np.int64).reshape(-1, 2)
    stretch, first = np.divmod(runs[:, 0], length + 1)
    count = runs[:, 1] - runs[:, 0]
    after = np.minimum(first + count, length - 1)
    ended = (first + count < stretches.length[stretch]) * closed[after, stretch]
    at = np.append(0, np.cumsum(count))
    offset = np.arange(at[-1]) - np.repeat(at[:-1], count) + np.repeat(first, count)
    start = stretches.start[stretch]
    return Opened(
        entity=stretches.entity[stretch],
        joined=stretches.since[stretch],
        first=start + first,
        end=start + first + count,
        closed=ended,
        at=at,
        column=offset + np.repeat(start, count),
        severity=severity[offset, np.repeat(stretch, count)],
        cautious=cautious[offset, np.repeat(stretch, count)],
    )
