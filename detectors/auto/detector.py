"""The detector `auto`: how its parts play together for all entities of a job."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Annotated, Any, ClassVar, Final, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from detectors.auto import cold_start, evidence, incident_memory, multichannel, recurrence
from detectors.auto.evidence import Observation
from detectors.auto.forecasts import READY
from detectors.auto.incident_memory import Turn
from detectors.auto.multichannel import JointObservation
from detectors.calibration import Rows, score_of
from detectors.entity_state import EntityState
from detectors.seasonality import SeasonalTime
from detectors.types import Batch, Flags, Floats, Judgement, Key, State

AGREEING: Final = 1.6
"""Streams that move together when one does: their evidence is divided by it."""
QUIET: Final = 0.4
"""Largest score of what is known: below any line up to nine a week."""
_ROWS: Final = 1024
"""Series worked on at a time: what is computed for them stays in the processor's cache."""


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """What `score` found for some entities and `update` needs; the arrays hold those that have a sample."""

    entities: slice
    present: NDArray[np.intp]  # of the entities
    alive: NDArray[np.intp]  # of the series
    tick: SeasonalTime
    series: Observation
    together: JointObservation | None
    score: Floats  # before habit and grace
    plain: Floats  # as it would be for an old series
    size: Floats  # as it would be without any history
    quiet: Flags  # habit or grace
    ready: Flags
    warm: Flags


@dataclass(kw_only=True)
class Auto:
    """Judges every series by what it learnt of it: level, profiles of day and week, dispersion, values met before.

    Each of seven streams of evidence is turned into the rate per week at which so much is to be expected, from a power
    law and the series' own past; rates are combined by a harmonic sum (as the Cauchy combination does with p-values,
    Liu & Xie 2020, doi:10.1080/01621459.2018.1554485). A score of 1 is what opens one incident per week by chance.
    Entities of several channels are judged by two channels at once, by broken correlation, and by restlessness of all.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    window: Annotated[int, Field(ge=2, description="samples kept to fill gaps from; default: the job's window")] = 60
    time_zone: Annotated[str, Field(description="where hours of the day and of the week are counted")] = "UTC"

    _roster: EntityState | None = field(init=False, repr=False)
    _zone: tzinfo = field(init=False, repr=False)
    _last: tuple[tuple[Key, ...], float, list[_Block]] | None = field(init=False, repr=False)
    _series: tuple[str, ...] = field(init=False, repr=False)
    _entity: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._roster = self._last = None
        self._series = self._entity = ()
        try:
            self._zone = ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"unknown time zone {self.time_zone!r}, use a name such as Europe/Berlin") from error

    def _aligned(self, channels: int) -> EntityState:
        if self._roster is None:
            series = evidence.columns((channels,))
            entity = {**incident_memory.columns(), **(multichannel.columns(channels) if channels > 1 else {})}
            self._series, self._entity = tuple(series), tuple(entity)
            self._roster = EntityState({**series, **entity})
        return self._roster

    def fit(self, history: Batch) -> Self:  # noqa: ARG002 - it learns sample by sample, as the cycle replays them
        """Do nothing: it learns sample by sample."""
        return self

    def score(self, batch: Batch) -> Judgement:
        """Judge the newest sample of each entity."""
        entities, channels = batch.values.shape[:2]
        arrays = self._aligned(channels).view(batch.keys)
        score = np.full(entities, np.nan)
        expected, lower, upper, contribution = (np.full((entities, channels), np.nan) for _ in range(4))
        blocks = []
        for block in self._blocks(batch, arrays):
            blocks.append(block)
            rows = np.arange(entities)[block.entities][block.present]
            found = np.where(block.quiet, np.minimum(block.score, QUIET), block.score)
            score[rows] = np.where(block.ready, found, np.nan)
            seen = block.series
            known = (
                (expected, seen.expected),
                (lower, seen.lower),
                (upper, seen.upper),
                (contribution, seen.evidence.weeks),
            )
            for target, values in known:
                target[block.entities].reshape(-1)[block.alive] = values
            if block.together is not None:
                contribution[rows] = block.together.contribution
        if len(batch.times):
            self._last = (batch.keys, float(batch.times[-1]), blocks)
        total = np.nansum(contribution, axis=1, keepdims=True)
        share = np.where(total > 0, np.nan_to_num(contribution) / np.where(total > 0, total, 1.0), 1.0 / channels)
        return Judgement(score, expected, lower, upper, np.where(np.isfinite(score)[:, None], share, np.nan))

    def _blocks(self, batch: Batch, arrays: dict[str, NDArray[Any]]) -> Iterator[_Block]:
        if len(batch.times) < 2:
            return
        tick = SeasonalTime.at(float(batch.times[-1]), float(batch.times[-1] - batch.times[-2]), self._zone)
        channels = len(batch.channels)
        together_at = max(_ROWS // channels, 1)
        for first in range(0, len(batch.keys), together_at):
            entities = slice(first, first + together_at)
            values = batch.values[entities, :, -1]
            there = np.isfinite(values)
            alive, present = np.flatnonzero(there), np.flatnonzero(there.any(axis=1))
            rows = _taken(_of_series(arrays, entities, self._series), alive)
            of_entity = _taken(_of_entities(arrays, entities, self._entity), present)
            frozen = np.repeat(arrays["held"][entities], channels)[alive]
            seen = evidence.observe(rows, values.reshape(-1)[alive], tick, frozen)
            together = None if channels == 1 else _together(rows, of_entity, seen, there[present], tick)
            combined, agreeing = (seen.evidence, AGREEING) if together is None else (together.evidence, 1.0)
            size = score_of(combined.power / agreeing)
            known = recurrence.known(of_entity, size, tick)
            if together is not None:  # what was never shown as an incident is no habit
                known &= np.isfinite(of_entity["opened"])
            yield _Block(
                entities=entities,
                present=present,
                alive=alive,
                tick=tick,
                series=seen,
                together=together,
                score=score_of(combined.weeks / agreeing),
                plain=score_of(combined.plain / agreeing),
                size=size,
                quiet=known | (tick.time < of_entity["grace"]),
                ready=_any(there, rows["samples"] >= READY)[present],
                warm=_any(there, seen.warm)[present],
            )

    def update(self, fresh: Batch, frozen: Flags, rebaselined: Flags) -> None:
        """Learn the newest sample of every entity; of one with an open incident only what it has never met.

        Raises ValueError unless `score` was asked for the same newest sample before.
        """
        if not len(fresh.times):
            return
        if self._last is None or self._last[0] is not fresh.keys or self._last[1] != fresh.times[-1]:
            raise ValueError("update() follows score() of the same samples")
        blocks, self._last = self._last[2], None
        roster = self._aligned(len(fresh.channels))
        roster.align(fresh.keys)
        arrays = roster.view(fresh.keys)
        for block in blocks:
            self._learn(
                arrays, block, fresh.values[block.entities, :, -1], frozen[block.entities], rebaselined[block.entities]
            )
        if blocks:
            cold_start.inherit(_of_series(arrays, slice(None), self._series), len(fresh.channels), blocks[0].tick)

    def _learn(
        self, arrays: dict[str, NDArray[Any]], block: _Block, values: Floats, frozen: Flags, rebaselined: Flags
    ) -> None:
        every, entities = (
            _of_series(arrays, block.entities, self._series),
            _of_entities(arrays, block.entities, self._entity),
        )
        channels, tick = values.shape[1], block.tick
        missing = np.ones(len(values), np.bool_)
        missing[block.present] = False
        lost = np.flatnonzero(missing & entities["held"] & ~frozen)
        if len(lost):
            evidence.close(every, (lost[:, None] * channels + np.arange(channels)).reshape(-1), count=False)
            incident_memory.lose(entities, lost)
        rows, entity = _taken(every, block.alive), _taken(entities, block.present)
        owner = np.searchsorted(block.present, block.alive // channels)
        frozen, rebaselined = frozen[block.present], rebaselined[block.present]
        turn = Turn.of(
            entity, frozen, rebaselined | (frozen & incident_memory.too_long(rows, entity, owner, tick)), tick
        )

        evidence.learn(rows, values.reshape(-1)[block.alive], block.series, tick, turn.learn[owner])
        if turn.rebaselined.any():
            evidence.rebaseline(rows, np.flatnonzero(turn.rebaselined[owner]), block.series, tick)
        if turn.ended.any():
            evidence.close(rows, np.flatnonzero(turn.ended[owner]))
        if block.together is not None:
            multichannel.learn(entity, block.together, tick, turn.learn, block.ready)
            multichannel.TAILS.close(entity, np.flatnonzero(turn.ended))
        unseen = block.warm & (block.plain > 1) & ((block.score <= 1) | block.quiet)
        incident_memory.remember(entity, turn, block.size, unseen, tick)
        _put(every, block.alive, rows)
        _put(entities, block.present, entity)

    def state(self) -> State:
        """Return all that was learnt."""
        return {} if self._roster is None else self._roster.state()

    def restore(self, state: State) -> Self:
        """Take over what `state()` returned. Raises ValueError when it does not fit."""
        if state:
            if "level" not in state or state["level"].ndim != 2:
                raise ValueError("the saved state holds no series of this detector")
            self._roster = None
            self._aligned(state["level"].shape[1]).restore(state)
        return self


def _together(rows: Rows, entity: Rows, seen: Observation, there: Flags, tick: SeasonalTime) -> JointObservation:
    """Lay the series out by entity and channel, and judge the channels together."""

    def spread(values: Floats) -> Floats:
        whole = np.full(there.shape, np.nan)
        whole[there] = values
        return whole

    each, best = np.arange(len(seen.x)), seen.residuals.selected
    usual = np.maximum(np.sqrt(rows["square"][each, best]), evidence.FLOOR * seen.sd)
    residual = np.where(rows["compared"][each, best] >= READY, seen.residuals.residual[each, best] / usual, 0.0)
    return multichannel.observe(
        entity, spread(seen.evidence.weeks), spread(seen.x), spread(residual), spread(seen.sd), tick.step
    )


def _any(there: Flags, of_series: Flags) -> Flags:
    """Return for which entities it is true of a channel that has a sample; `of_series` follows `there`."""
    whole = np.zeros(there.shape, np.bool_)
    whole[there] = of_series
    return np.asarray(whole.any(axis=1))


def _of_entities(arrays: Mapping[str, NDArray[Any]], entities: slice, names: tuple[str, ...]) -> Rows:
    return {name: arrays[name][entities] for name in names}


def _of_series(arrays: Mapping[str, NDArray[Any]], entities: slice, names: tuple[str, ...]) -> Rows:
    """Return the arrays with one row per entity and channel; views, as the rows of entities are adjacent."""
    rows = _of_entities(arrays, entities, names)
    return {name: array.reshape(-1, *array.shape[2:]) for name, array in rows.items()}


def _taken(rows: Rows, which: NDArray[np.intp]) -> Rows:
    """Return the rows `which`: the arrays themselves where that is all of them, else copies."""
    size = len(next(iter(rows.values())))
    return rows if len(which) == size else {name: array[which] for name, array in rows.items()}


def _put(rows: Rows, which: NDArray[np.intp], taken: Rows) -> None:
    """Write back what `_taken` had to copy."""
    if taken is not rows:
        for name, array in taken.items():
            rows[name][which] = array
