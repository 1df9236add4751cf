"""The detector `peers`: each entity against the others of its group at the same moment."""

from dataclasses import dataclass, field
from typing import Annotated, Final, Self

import numpy as np
from pydantic import Field

from detectors import streams
from detectors.calibration import score_of
from detectors.entity_state import Column, EntityState
from detectors.peers.beside import Beside, Endings, of_entities
from detectors.peers.comparison import Comparison
from detectors.stateful import StatefulDetector
from detectors.streams import SHOWN_FROM
from detectors.types import Batch, Flags, Floats, Judgement, State, Streams

AGREEING: Final = 1.5
"""Number of components that usually move together: their return period is divided by it."""
_OWN: Final = "incidents."


@dataclass(kw_only=True)
class Peers(StatefulDetector):
    """Compares every entity with the others of its group at the same moment, whatever the whole group does.

    What the others make of an entity is their median times its usual ratio to them, or plus its usual difference,
    whichever fits better; both are learnt. The residual, and its mean over ten minutes, are measured in the largest of
    the entity's own usual distance, the present spread of the others (the median absolute deviation; Rousseeuw & Croux
    1993, doi:10.1080/01621459.1993.10476408), and a share of a sudden move of the group. How often so much comes by
    chance follows from a tail fitted to the entity's own past, as for `auto`. Where an entity has fewer than two others
    it has no score.
    """

    window: Annotated[int, Field(ge=2, description="samples kept to fill gaps from; default: the job's window")] = 60
    peers: Annotated[
        tuple[str, ...], Field(description="the job's `peers`: labels of a group; none: all of the job")
    ] = ()

    _beside: Beside = field(init=False, repr=False)
    _held: EntityState = field(init=False, repr=False)
    _step: float = field(init=False, repr=False, default=60.0)

    def __post_init__(self) -> None:
        self._beside = Beside(self.peers)
        self._held = EntityState({"held": Column(False, (), np.bool_)})

    def score(self, batch: Batch) -> Judgement:
        """Score the newest sample of each entity."""
        entities, channels = batch.values.shape[:2]
        if len(batch.times) > 1:
            self._step = float(batch.times[-1] - batch.times[-2])
        found = self._beside.observe(batch, self._step, self._held.view(batch.keys)["held"])
        shape = entities, channels
        judged = found.judged.reshape(shape)
        score = np.where(
            judged.any(axis=1), score_of(of_entities(found.evidence.return_period, channels) / AGREEING), np.nan
        )
        period = found.evidence.return_period.reshape(shape)
        total = period.sum(axis=1, keepdims=True)
        share = np.divide(period, total, out=np.full(shape, 1.0 / channels), where=total > 0)
        expected = found.expected.reshape(shape)
        allowed = self._beside.allowed(batch, found, np.arange(entities * channels)).reshape(shape)
        return Judgement(
            score,
            expected,
            expected - allowed,
            expected + allowed,
            np.where(np.isfinite(score)[:, None], share, np.nan),
            np.where(judged, found.side.reshape(shape), np.nan),
            self._streams(batch, found, score),
        )

    def _streams(self, batch: Batch, found: Comparison, score: Floats) -> Streams | None:
        with np.errstate(invalid="ignore"):
            rows = np.flatnonzero(score > SHOWN_FROM)
        if not len(rows):
            return None
        return self._beside.tell(streams.blank(rows), batch, found)

    def update(self, fresh: Batch, frozen: Flags, rebaselined: Flags) -> None:
        """Learn the newest sample of entities without an incident."""
        if not len(fresh.times):
            return
        self._held.align(fresh.keys)
        before, now = self._held["held"].copy(), frozen & ~rebaselined
        gone = before & ~now & ~rebaselined & np.isnan(fresh.values[:, :, -1]).all(axis=1)
        ended = before & ~now & ~gone
        self._beside.learn(fresh, self._step, Endings(~now & ~before, ended, gone, rebaselined))
        self._held["held"] = now

    def state(self) -> State:
        """Return everything learnt; empty before the first batch."""
        learnt = self._beside.state()
        if not learnt:
            return {}
        own = {f"{_OWN}{name}": array for name, array in self._held.state().items()}
        return learnt | own | {"step": np.array(self._step)}

    def restore(self, state: State) -> Self:
        """Load what `state()` returned; an empty one changes nothing. Raises ValueError when it does not fit."""
        if not state:
            return self
        if "step" not in state:
            raise ValueError("the saved state holds no comparison of peers")
        self._held.restore({name.removeprefix(_OWN): a for name, a in state.items() if name.startswith(_OWN)})
        self._beside.restore({name: a for name, a in state.items() if not name.startswith(_OWN) and name != "step"})
        self._step = float(state["step"].astype(np.float64))
        return self
