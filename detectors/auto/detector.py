"""The detector `auto`: combines its component scores for all entities of a job."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Annotated, Any, Final, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from detectors.auto import (
    cold_start,
    evidence,
    frequency,
    incident_memory,
    multichannel,
    recurrence,
    state_rows,
    streams,
)
from detectors.auto.beside_peers import BesidePeers
from detectors.auto.evidence import Observation
from detectors.auto.forecasts import READY
from detectors.auto.incident_memory import IncidentTransition
from detectors.auto.multichannel import JointObservation
from detectors.auto.recurrence import Sides
from detectors.auto.streams import Picked
from detectors.blocks import slices
from detectors.calibration import Rows, score_of
from detectors.entity_state import LazyEntityState
from detectors.peers.beside import Beside, Endings
from detectors.seasonality import SeasonalTime
from detectors.stateful import Ahead, LastScore, StatefulDetector
from detectors.streams import SHOWN_FROM
from detectors.types import Batch, Flags, Floats, Judgement, State, Streams

AGREEING: Final = 2.2
"""Number of components that usually move together: their return period is divided by it."""
QUIET: Final = 0.4
"""Largest score of recurring patterns and cool-downs: below the threshold of up to nine false alarms a week."""
_AGREEING_JOINT: Final = 1.2
"""The same for the components of several channels together."""
_BESIDE: Final = "beside."
"""Prefix of what is learnt of peers in a saved state."""
_ROWS: Final = 2048
"""Series per block: their intermediate results stay in the processor's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Intermediate results of `score` for some entities; the arrays hold those that have a sample."""

    entities: slice
    present: NDArray[np.intp]  # indices of entities in the slice
    alive: NDArray[np.intp]  # indices of their series
    at: SeasonalTime
    series: Observation
    direction: Floats
    joint: JointObservation | None
    score: Floats  # before recurring patterns and cool-down are applied
    unpenalised: Floats  # return period without the short-history penalty
    prior: Floats  # return period without any history
    side: Sides
    recurring: Flags
    quiet: Flags  # recurring pattern or cool-down
    ready: Flags
    warm: Flags
    told: NDArray[np.intp]  # indices of entities that have samples, of those whose streams are told
    picked: Picked | None

    def size(self, which: NDArray[np.intp]) -> Floats:
        """Return the scores without any history of some entities that have a sample; a power is slow, few are asked."""
        return score_of(self.prior[which])

    def seen_later(self) -> Flags:
        """Return which entities that have a sample would have opened an incident, were their history longer."""
        found = self.warm & (self.unpenalised > 1) & ((self.score <= 1) | self.quiet)
        which = np.flatnonzero(found)
        found[which] = score_of(self.unpenalised[which]) > 1
        return found


@dataclass(frozen=True, slots=True, eq=False)
class _Ahead:
    """What is known of all series of some entities before their samples come."""

    series: evidence.Prepared
    exponent: Floats | None  # of `frequency.score`; None for several channels

    def of(self, alive: NDArray[np.intp], size: int) -> "_Ahead":
        """Return that of the series `alive`, of so many."""
        if len(alive) == size:
            return self
        return _Ahead(self.series.taken(alive), None if self.exponent is None else self.exponent[alive])


@dataclass(kw_only=True)
class Auto(StatefulDetector):
    """Compares every series with its own learnt level, profiles of day and week, volatility, and seen pairs of values.

    Each component score (the residual, its means over 3, 10 and 30 minutes, volatility, pairs of values never seen) is
    turned into the rate per week at which a value so large is expected by chance, from a tail fitted to the series' own
    past. The rates are combined by a harmonic sum, similar to the Cauchy combination of p-values (Liu & Xie 2020,
    doi:10.1080/01621459.2018.1554485). At a score of 1 one incident per week opens by chance. Entities with several
    channels have four joint components instead of a sum over channels: the second largest channel, a broken correlation
    (twice), and the volatility of all channels.
    """

    window: Annotated[int, Field(ge=2, description="samples kept to fill gaps from; default: the job's window")] = 60
    time_zone: Annotated[str, Field(description="where hours of the day and of the week are counted")] = "UTC"
    peers: Annotated[
        tuple[str, ...] | None,
        Field(description="the job's `peers`: labels of a group whose entities are compared with each other"),
    ] = None

    _zone: tzinfo = field(init=False, repr=False)
    _entities: LazyEntityState = field(init=False, repr=False)
    _last: LastScore[list[_Block]] = field(init=False, repr=False)
    _ahead: Ahead[deque[_Ahead]] = field(init=False, repr=False)
    _beside: Beside | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._entities, self._last = LazyEntityState(state_rows.columns, per_channel="level"), LastScore()
        self._ahead = Ahead()
        self._beside = None if self.peers is None else Beside(self.peers)
        try:
            self._zone = ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"unknown time zone {self.time_zone!r}, use a name such as Europe/Berlin") from error

    def prepare(self, coming: Batch) -> None:
        """Compute forecasts, noise and thresholds of the newest samples."""
        self._ahead.drop()
        at = self._time(coming)
        if at is None:
            return
        arrays, channels = self._entities.view(coming), len(coming.channels)
        every = state_rows.of_series(arrays)
        found = (_prepared(arrays, every, at, part, channels) for part in self._parts(coming))
        self._ahead.keep(coming, deque(found))

    def score(self, batch: Batch) -> Judgement:
        """Score the newest sample of each entity."""
        entities, channels = batch.values.shape[:2]
        arrays = self._entities.view(batch)
        score = np.full(entities, np.nan)
        expected, lower, upper, contribution, direction = (np.full((entities, channels), np.nan) for _ in range(5))
        beside = self._compared(batch, arrays)
        blocks = self._blocks(batch, arrays, beside)
        for block in blocks:
            rows = np.arange(entities)[block.entities][block.present]
            found = np.where(block.quiet, np.minimum(block.score, QUIET), block.score)
            score[rows] = np.where(block.ready, found, np.nan)
            seen = block.series
            known = (
                (expected, seen.expected),
                (lower, seen.lower),
                (upper, seen.upper),
                (contribution, seen.evidence.return_period),
                (direction, block.direction),
            )
            for target, values in known:
                target[block.entities].reshape(-1)[block.alive] = values
            if block.joint is not None:
                contribution[rows] = block.joint.contribution
        if self._beside is not None and beside is not None:
            louder = beside.speaks(score, contribution)
            theirs, allowed = beside.found.expected[louder], self._beside.allowed(batch, beside.found, louder)
            for target, values in ((expected, theirs), (lower, theirs - allowed), (upper, theirs + allowed)):
                target.reshape(-1)[louder] = values
        self._last.keep(batch, blocks)
        total = np.nansum(contribution, axis=1, keepdims=True)
        share = np.where(total > 0, np.nan_to_num(contribution) / np.where(total > 0, total, 1.0), 1.0 / channels)
        share = np.where(np.isfinite(score)[:, None], share, np.nan)
        told = _streams(blocks, channels)
        if told is not None and self._beside is not None and beside is not None:
            told = self._beside.tell(told, batch, beside.found)
        return Judgement(score, expected, lower, upper, share, direction, told)

    def _compared(self, batch: Batch, arrays: dict[str, NDArray[Any]]) -> BesidePeers | None:
        if self._beside is None or len(batch.times) < 2:
            return None
        step = float(batch.times[-1] - batch.times[-2])
        agreeing = AGREEING if len(batch.channels) == 1 else _AGREEING_JOINT
        return BesidePeers(self._beside.observe(batch, step, arrays["held"]), len(batch.channels), agreeing)

    def _blocks(self, batch: Batch, arrays: dict[str, NDArray[Any]], beside: BesidePeers | None = None) -> list[_Block]:
        at, ahead = self._time(batch), self._ahead.take(batch)
        if at is None:
            return []
        channels, every, parts = len(batch.channels), state_rows.of_series(arrays), self._parts(batch)
        blocks = []
        for part in parts:  # what was prepared for a block is let go when it is judged
            known = _prepared(arrays, every, at, part, channels) if ahead is None else ahead.popleft()
            blocks.append(_observed(batch, arrays, every, at, beside, part, known))
        return blocks

    def _time(self, batch: Batch) -> SeasonalTime | None:
        """Return the time of the newest samples, None where there is no step yet."""
        if len(batch.times) < 2:
            return None
        step = float(batch.times[-1] - batch.times[-2])
        return SeasonalTime.at(float(batch.times[-1]), step, self._zone, batch.weekday(-1))

    @staticmethod
    def _parts(batch: Batch) -> list[slice]:
        return slices(len(batch.keys), max(_ROWS // len(batch.channels), 1))

    def update(self, fresh: Batch, frozen: Flags, rebaselined: Flags) -> None:
        """Learn the newest sample. Of an entity with an open incident only seen values and new slots are learnt.

        Raises ValueError unless `score` was called for the same newest sample before.
        """
        if not len(fresh.times):
            return
        blocks = deque(self._last.take(fresh))
        self._ahead.drop()
        self._entities.align(fresh)
        if not blocks:
            return
        arrays, at = self._entities.view(fresh), blocks[0].at
        ended, every = Endings.of(len(fresh.keys)), state_rows.of_series(arrays)
        hours = []
        while blocks:  # each is let go when it is learnt
            hours.append(_learn(arrays, every, fresh, frozen, rebaselined, ended, blocks.popleft()))
        _complete_hours(arrays, every, hours, len(fresh.channels), at.step)
        if self._beside is not None:
            self._beside.learn(fresh, at.step, ended)
        cold_start.inherit(every, len(fresh.channels), at)

    def state(self) -> State:
        """Return everything learnt; empty before the first batch."""
        beside = {} if self._beside is None else self._beside.state()
        return self._entities.state() | {f"{_BESIDE}{name}": array for name, array in beside.items()}

    def restore(self, state: State) -> Self:
        """Load what `state()` returned; an empty one changes nothing. Raises ValueError when it does not fit."""
        self._ahead.drop()
        self._entities.restore({name: array for name, array in state.items() if not name.startswith(_BESIDE)})
        if self._beside is not None:
            beside = {name.removeprefix(_BESIDE): a for name, a in state.items() if name.startswith(_BESIDE)}
            if state and not beside:
                raise ValueError("the saved state holds no comparison of peers")
            self._beside.restore(beside)
        return self


def _prepared(arrays: dict[str, NDArray[Any]], every: Rows, at: SeasonalTime, entities: slice, channels: int) -> _Ahead:
    """Compute what is known of the next samples of some entities before they come."""
    rows = state_rows.part(every, entities, channels)
    found = evidence.prepare(rows, at, np.repeat(arrays["held"][entities], channels))
    if channels > 1:
        return _Ahead(found, None)
    return _Ahead(found, frequency.exponent(state_rows.of_entities(arrays, entities, channels), found.correction))


def _observed(
    batch: Batch,
    arrays: dict[str, NDArray[Any]],
    every: Rows,
    at: SeasonalTime,
    beside: BesidePeers | None,
    entities: slice,
    ahead: _Ahead,
) -> _Block:
    """Compare the newest sample of some entities with their state. Learns nothing."""
    channels = len(batch.channels)
    values = batch.values[entities, :, -1]
    there = np.isfinite(values)
    alive, present = np.flatnonzero(there), np.flatnonzero(there.any(axis=1))
    rows = state_rows.taken(state_rows.part(every, entities, channels), alive)
    of_entity = state_rows.taken(state_rows.of_entities(arrays, entities, channels), present)
    frozen = np.repeat(arrays["held"][entities], channels)[alive]
    ahead = ahead.of(alive, values.size)
    seen = evidence.observe(rows, values.reshape(-1)[alive], at, frozen, ahead.series)
    joint = None if channels == 1 else _joint(rows, of_entity, seen, there[present], at)
    combined, agreeing = (seen.evidence, AGREEING) if joint is None else (joint.evidence, _AGREEING_JOINT)
    direction = seen.direction
    if beside is not None:
        combined = beside.added(combined, entities.start + present)
        direction = beside.directed(direction, seen.evidence, entities.start * channels + alive)
    prior = combined.prior / agreeing
    period = combined.return_period / agreeing
    exponent = frequency.OF_CHANNELS if ahead.exponent is None else ahead.exponent
    found = frequency.score(of_entity, period, exponent)
    # Several channels have no common side.
    side = (direction > 0 if joint is None else np.zeros(len(present))).astype(np.uint8)
    # A pattern does not end an incident: that may be another one, at this hour by chance.
    asked = np.flatnonzero((found > QUIET / 2) & ~of_entity["held"])
    recurring = np.zeros(len(found), np.bool_)
    size = score_of(prior[asked])
    recurring[asked] = recurrence.is_recurring(of_entity, asked, size, side[asked], at)
    if joint is not None:  # a pattern counts only if it was reported as an incident before
        recurring &= np.isfinite(of_entity["opened"])
    quiet = recurring | (at.time < of_entity["grace"])
    ready = _any(there, rows["samples"] >= READY)[present]
    told = np.flatnonzero(ready & ~quiet & (found > SHOWN_FROM))
    return _Block(
        entities=entities,
        present=present,
        alive=alive,
        at=at,
        series=seen,
        direction=direction,
        joint=joint,
        score=found,
        unpenalised=combined.unpenalised / agreeing,
        prior=prior,
        side=side,
        recurring=recurring,
        quiet=quiet,
        ready=ready,
        warm=_any(there, seen.warm)[present],
        told=told,
        picked=streams.pick(rows, seen, joint, there[present], told) if len(told) else None,
    )


def _learn(
    arrays: dict[str, NDArray[Any]],
    of_series: Rows,
    fresh: Batch,
    frozen: Flags,
    rebaselined: Flags,
    ended: Endings,
    block: _Block,
) -> tuple[NDArray[np.intp], Flags]:
    """Learn the newest sample of a block; note in `ended` what became of its incidents.

    Return the series whose hour is complete, shape (N,), and which components of them have enough history.
    """
    values, ended = fresh.values[block.entities, :, -1], ended.part(block.entities)
    frozen, rebaselined = frozen[block.entities], rebaselined[block.entities]
    channels, at = values.shape[1], block.at
    every = state_rows.part(of_series, block.entities, channels)
    entities = state_rows.of_entities(arrays, block.entities, channels)
    missing = np.ones(len(values), np.bool_)
    missing[block.present] = False
    lost = np.flatnonzero(missing & entities["held"] & ~frozen)
    if len(lost):
        evidence.close(every, (lost[:, None] * channels + np.arange(channels)).reshape(-1), count=False)
        incident_memory.discard(entities, lost)
        ended.uncounted[lost] = True
    rows, entity = state_rows.taken(every, block.alive), state_rows.taken(entities, block.present)
    owner = np.searchsorted(block.present, block.alive // channels)
    frozen, rebaselined = frozen[block.present], rebaselined[block.present]
    transition = IncidentTransition.of(
        entity, frozen, rebaselined | (frozen & incident_memory.too_long(rows, entity, owner, at)), at
    )

    ended.learns[block.present], ended.counted[block.present] = transition.learn, transition.ended
    ended.moved[block.present] = transition.rebaselined

    due = evidence.learn(
        rows, values.reshape(-1)[block.alive], block.series, at, transition.learn[owner], block.recurring[owner]
    )
    if transition.rebaselined.any():
        evidence.rebaseline(rows, np.flatnonzero(transition.rebaselined[owner]), block.series, at)
    if transition.ended.any():
        evidence.close(rows, np.flatnonzero(transition.ended[owner]))
    if block.joint is not None:
        multichannel.learn(entity, block.joint, at, transition.learn, block.ready)
        multichannel.TAILS.close(entity, np.flatnonzero(transition.ended))
    else:
        frequency.learn(entity, block.unpenalised, block.series.correction, block.warm & ~block.quiet, at)
    incident_memory.remember(entity, transition, block.size, block.side, block.seen_later(), at)
    state_rows.put(every, block.alive, rows)
    state_rows.put(entities, block.present, entity)
    return block.entities.start * channels + block.alive[due], block.series.active[due]


def _complete_hours(
    arrays: dict[str, NDArray[Any]],
    every: Rows,
    hours: list[tuple[NDArray[np.intp], Flags]],
    channels: int,
    step: float,
) -> None:
    """Fit the tails of the series whose hour is complete: few of each block, so that all together take less time."""
    due, active = (np.concatenate(parts) for parts in zip(*hours, strict=True))
    evidence.TAILS.complete(every, due, active, step)
    if channels == 1:
        entity = state_rows.of_entities(arrays, slice(0, len(every["seen"])), channels)
        evidence.TAILS.correct(every, due, frequency.correction(entity, due, step))


def _joint(rows: Rows, entity: Rows, seen: Observation, there: Flags, at: SeasonalTime) -> JointObservation:
    """Arrange the series by entity and channel, and combine the channels of each entity."""

    def spread(values: Floats) -> Floats:
        whole = np.full(there.shape, np.nan)
        whole[there] = values
        return whole

    each, best = np.arange(len(seen.x)), seen.residuals.selected
    usual = np.maximum(np.sqrt(rows["squares"][each, best, 0]), evidence.FLOOR * seen.sd)
    residual = np.where(rows["compared"][each, best] >= READY, seen.residuals.residual[each, best] / usual, 0.0)
    return multichannel.observe(
        entity, spread(seen.evidence.return_period), spread(seen.x), spread(residual), spread(seen.sd), at.step
    )


def _streams(blocks: Iterable[_Block], channels: int) -> Streams | None:
    """Return the streams of all blocks, with the rows of their entities in the batch."""
    some = [(block, block.picked) for block in blocks if block.picked is not None]
    if not some:
        return None
    rows = np.concatenate([block.entities.start + block.present[block.told] for block, _ in some])
    return streams.of_entities(rows, [picked for _, picked in some], channels, some[0][0].at.step)


def _any(there: Flags, of_series: Flags) -> Flags:
    """Return the entities for which `of_series` is true in a channel that has a sample, shape (R,)."""
    whole = np.zeros(there.shape, np.bool_)
    whole[there] = of_series
    return np.asarray(whole.any(axis=1))
