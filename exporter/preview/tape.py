"""What a replay heard from the detector, kept so that incidents can be decided again without another replay."""

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detectors.streams import take
from detectors.types import Batch, Detector, Flags, Floats, Judgement, Key, State, Streams
from exporter.pipeline.incident_update import IncidentUpdate
from exporter.pipeline.job import Job
from exporter.pipeline.learning_hold import Hold, LearningHold
from exporter.pipeline.verdict import Verdict

_BY_CHANNEL: Final = ("value", "expected", "lower", "upper", "contribution", "direction")
_NUMBERS: Final = ("score", "severity", "deployed")
_FLAGS: Final = ("there", "moving", "flag", "adopted", "frozen", "learnt", "unusual", "due", "alert")


class Tape:
    """The judgements of a replay and what followed from them: N columns (times), E entities, C channels.

    `value`, `expected`, `lower`, `upper`, `contribution`, `direction`, shape (N, E, C), and `score`, shape (N, E), are
    as the detector gave them; the direction is NaN where it gave none. `there` says which entities the job had,
    `deployed` when the newest deploy of their owners was (Unix seconds, NaN: none). `flag`, `severity`, `adopted` and
    `alert` are what was decided with the settings of the replay, `frozen`, `learnt`, `unusual` and `due` what was held
    back from learning (`frozen` and `adopted`, `unusual` and `due` of `Hold`).

    Parameters
    ----------
    columns : int
        Expected; more have room too.
    channels : int
    """

    def __init__(self, columns: int, channels: int) -> None:
        self.keys: dict[Key, int] = {}
        """Entities by their row, in the order in which they were first seen."""
        self.count = 0
        self.directed = False
        """Whether the detector says on which side its evidence lies."""
        self._streams: dict[int, tuple[NDArray[np.intp], Streams]] = {}  # by column, with rows of the tape
        self._channels = channels
        self._times: Floats = np.empty(columns)
        self._arrays: dict[str, NDArray[Any]] = {}
        self._last: tuple[tuple[Key, ...], NDArray[np.intp]] = (), np.empty(0, np.intp)
        self._room(columns, 8)

    @property
    def times(self) -> Floats:
        """Unix seconds, shape (N,)."""
        return self._times[: self.count]

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return one of the arrays, shape (N, E, …)."""
        return self._arrays[name][: self.count, : len(self.keys)]

    def _room(self, columns: int, entities: int) -> None:
        """Make room for so many."""
        if len(self._times) < columns:
            self._times = np.concatenate([self._times, np.empty(columns - len(self._times))])
        for name in (*_BY_CHANNEL, *_NUMBERS, *_FLAGS):
            is_flag = name in _FLAGS
            shape = (columns, entities, self._channels) if name in _BY_CHANNEL else (columns, entities)
            larger: NDArray[Any] = np.full(shape, False if is_flag else np.nan, np.bool_ if is_flag else np.float64)
            if (array := self._arrays.get(name)) is not None:
                larger[: array.shape[0], : array.shape[1]] = array
            self._arrays[name] = larger

    def _rows(self, keys: tuple[Key, ...]) -> NDArray[np.intp]:
        if keys is self._last[0]:
            return self._last[1]
        rows = np.array([self.keys.setdefault(key, len(self.keys)) for key in keys], np.intp)
        entities = self._arrays["score"].shape[1]
        if len(self.keys) > entities:
            self._room(len(self._times), max(len(self.keys), 2 * entities))
        self._last = keys, rows
        return rows

    def heard(self, batch: Batch, judgement: Judgement) -> None:
        """Begin the column of the newest sample of `batch`."""
        rows = self._rows(batch.keys)
        if self.count == len(self._times):
            self._room(2 * self.count, self._arrays["score"].shape[1])
        at, self.count = self.count, self.count + 1
        self._times[at] = batch.times[-1]
        arrays = self._arrays
        arrays["there"][at, rows] = True
        arrays["value"][at, rows] = batch.values[:, :, -1]
        arrays["score"][at, rows] = judgement.score
        for name in ("expected", "lower", "upper", "contribution"):
            arrays[name][at, rows] = getattr(judgement, name)
        if judgement.streams is not None:
            self._streams[at] = rows[judgement.streams.rows], judgement.streams
        if judgement.direction is not None:
            self.directed = True
            arrays["direction"][at, rows] = judgement.direction

    def streams(self, column: int, row: int) -> Streams | None:
        """Return what the detector told of a score, as of the only entity there is."""
        rows, told = self._streams.get(column, (np.empty(0, np.intp), None))
        at = np.flatnonzero(rows == row)
        return None if told is None or not len(at) else replace(take(told, at), rows=np.zeros(1, np.intp))

    def after(self, keys: tuple[Key, ...], deployed: Floats) -> None:
        """Add to the newest column when the newest deploy of each owner was (Unix seconds)."""
        self._arrays["deployed"][self.count - 1, self._rows(keys)] = deployed

    def decided(self, keys: tuple[Key, ...], decision: IncidentUpdate, moving: Flags, hold: Hold) -> None:
        """Add to the newest column what was decided, and what is held back from learning."""
        rows, at = self._rows(keys), self.count - 1
        found = {"flag": decision.flag, "severity": decision.severity, "adopted": decision.adopted, "moving": moving,
                 "frozen": hold.frozen, "learnt": hold.adopted, "unusual": hold.unusual, "due": hold.due}  # fmt: skip
        for name, array in found.items():
            self._arrays[name][at, rows] = array

    def alerted(self, verdict: Verdict) -> None:
        """Add to the newest column what was an alert."""
        self._arrays["alert"][self.count - 1, self._rows(verdict.keys)] = verdict.alert


def record(job: Job, columns: int) -> Tape:
    """Have the cycles of a job that has judged nothing yet, about so many, write a tape; its verdicts stay the same."""
    tape = Tape(columns, len(job.config.queries))
    job.model.detector = _Heard(job.model.detector, tape)
    job.learnt.hold = _Held(job.learnt.hold, tape)
    return tape


class _Heard:
    """A detector whose judgements are written down."""

    def __init__(self, inner: Detector, tape: Tape) -> None:
        self._inner, self._tape = inner, tape

    @property
    def window(self) -> int:
        """Samples `score` wants to see."""
        return self._inner.window

    def fit(self, history: Batch) -> "_Heard":
        """Learn offline."""
        self._inner.fit(history)
        return self

    def prepare(self, coming: Batch) -> None:
        """Compute what does not depend on the newest samples."""
        self._inner.prepare(coming)

    def score(self, batch: Batch) -> Judgement:
        """Judge the newest sample of each entity."""
        judgement = self._inner.score(batch)
        self._tape.heard(batch, judgement)
        return judgement

    def update(self, fresh: Batch, frozen: Flags, rebaselined: Flags) -> None:
        """Learn `fresh`."""
        self._inner.update(fresh, frozen, rebaselined)

    def state(self) -> State:
        """Return all that was learnt."""
        return self._inner.state()

    def restore(self, state: State) -> "_Heard":
        """Take over what `state()` returned."""
        self._inner.restore(state)
        return self


class _Held(LearningHold):
    """A hold whose decisions are written down."""

    def __init__(self, inner: LearningHold, tape: Tape) -> None:
        self._inner, self._tape = inner, tape

    def came_with(self, keys: tuple[Key, ...], deployed: Floats, within: float, is_open: Flags) -> Flags:
        """Return the entities whose level began with a deploy."""
        self._tape.after(keys, deployed)
        return self._inner.came_with(keys, deployed, within, is_open)

    def moving(self, batch: Batch, judgement: Judgement, elapsed: float, deployed: Flags | None = None) -> Flags:
        """Take in the newest sample."""
        return self._inner.moving(batch, judgement, elapsed, deployed)

    def decide(
        self,
        batch: Batch,
        unusual: Floats,
        decision: IncidentUpdate,
        elapsed: float,
        accepted: Flags | None,
        moving: Flags,
        inside: Flags,
        harmless: Flags | None = None,
    ) -> Hold:
        """Take in a decision."""
        hold = self._inner.decide(batch, unusual, decision, elapsed, accepted, moving, inside, harmless)
        self._tape.decided(batch.keys, decision, moving, hold)
        return hold

    def state(self) -> State:
        """Return what is held."""
        return self._inner.state()
