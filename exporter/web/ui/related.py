"""What else moved around the beginning of an incident: series of all jobs, and of an expression that is asked for."""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from detectors.calibration import KAPPA
from detectors.types import Floats, Key
from detectors.units import WEEK
from exporter import incident_wording as wording
from exporter.context.what_moved import AFTER, BEFORE, FEWEST, moved_at
from exporter.joint_wording import LONGEST, series_told
from exporter.json_values import finite, utc
from exporter.query_units import Unit, quantity_of
from exporter.sinks.recent import Block
from exporter.source.errors import SourceError
from exporter.source.samples import RangeResult
from exporter.web.ui.facts import Running
from exporter.web.ui.identity import link
from exporter.web.ui.query_budget import Spent
from exporter.web.ui.related_answers import Companion, Related

MOST: Final = 20
"""Companions in an answer."""
LIKELY: Final = 0.02
"""Share of series that move as much by chance from which on none is a companion."""
MOST_SERIES: Final = 2000
"""Series of an expression that are compared."""
MOST_COUNTED: Final = 20_000
"""Series of an expression above which it is not asked at all."""
_BACK: Final = 100
"""Samples before the time that an expression is asked for,"""
_ON: Final = 12
"""and after it."""
_RISING: Final = 0.98
"""Share of steps that do not fall, from which on a series is taken for a counter."""


@dataclass(slots=True)
class _Compared:
    """What was found so far."""

    found: list[tuple[float, float, Companion]] = field(default_factory=list)
    series: int = 0
    notes: list[str] = field(default_factory=list)


def related_answer(
    running: Running, job: str, key: Key, at: float, expr: str = "", most: int = MOST, now: float = math.inf
) -> Related:
    """Return what else moved around `at` (Unix seconds).

    Parameters
    ----------
    running : Running
    job, key
        The series that is meant.
    at : float
    expr : str
        PromQL whose series are compared instead of those of all jobs; "" for none.
    most : int
        Companions in the answer.
    now : float
        Unix seconds up to which an expression is asked.
    """
    compared = _Compared()
    if expr:
        _of_expression(running, job, expr, at, now, compared)
    else:
        _of_jobs(running, job, key, at, compared)
    ranked = sorted(compared.found, key=lambda each: each[:2])[:most]
    companions = [each[2] for each in ranked]
    for each in companions:
        each.by_chance = float(f"{each.chance * compared.series:.3g}")
        each.text = _told(each, running)
    return Related(job, dict(key), utc(at), compared.series, companions, compared.notes)


def _of_jobs(running: Running, job: str, key: Key, at: float, compared: _Compared) -> None:
    facts = running.facts()
    for name, each in facts.jobs.items():
        block = running.recent.block(name, each.config.step)
        if block is None:
            continue
        column = int(np.searchsorted(block.times, at - each.config.step / 2))
        inside = 0 <= column < len(block.times) and at > block.times[0] - each.config.step
        if not inside:
            compared.notes.append(
                f"{name} is not compared: the exporter remembers it from {utc(block.times[0])} to "
                f"{utc(block.times[-1])} only. An expression asks the source itself."
            )
        elif column < FEWEST:
            compared.notes.append(
                f"Of {name} only {column} samples before that time are remembered, too few to know its usual changes: "
                "its scores are compared, not its levels."
            )
            _by_score(name, block, column, key if name == job else None, compared)
        else:
            _by_level(name, list(each.config.queries), block, column, key if name == job else None, compared)


def _by_level(
    job: str, channels: list[str], block: Block, column: int, but: Key | None, compared: _Compared
) -> None:  # fmt: skip
    for at in range(block.values.shape[1]):
        channel = channels[at] if at < len(channels) and len(channels) > 1 else ""
        found = moved_at(block.values[:, at], column)
        compared.series += int(np.isfinite(found.size).sum())
        for row in _strongest(found.chance, found.size):
            if block.keys[row] != but:
                levels = finite(found.before[row]), finite(found.after[row])
                _add(compared, job, channel, block.keys[row], levels, found.size[row], found.chance[row])


def _by_score(job: str, block: Block, column: int, but: Key | None, compared: _Compared) -> None:
    near = slice(max(column - BEFORE, 0), column + AFTER + 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        score = np.fmax.reduce(block.score[:, near], axis=1, initial=np.nan)
        seconds = (BEFORE + AFTER) * float(np.diff(block.times[:2]).sum() or 60.0)
        chance = np.minimum(seconds / WEEK * np.maximum(score, 1e-9) ** -KAPPA, 1.0)
    compared.series += int(np.isfinite(score).sum())
    for row in _strongest(np.where(score > 1, chance, np.nan), score):
        if block.keys[row] != but:
            levels = (
                finite(block.values[row, 0, max(column - BEFORE - 1, 0)]), finite(block.values[row, 0, near][-1]),
            )  # fmt: skip
            _add(compared, job, "", block.keys[row], levels, score[row], chance[row])


def _strongest(chance: Floats, size: Floats) -> Iterator[int]:
    """Yield the rows that moved most, of those that seldom move so much by chance."""
    rows = np.flatnonzero(np.nan_to_num(chance, nan=1.0) <= LIKELY)
    yield from rows[np.lexsort((-size[rows], chance[rows]))][: MOST + 1].tolist()


def _add(
    compared: _Compared, job: str, channel: str, key: Key, levels: tuple[float | None, float | None], size: float,
    chance: float,
) -> None:  # fmt: skip
    before, after = levels
    rounded = float(f"{size:.3g}"), float(f"{chance:.3g}")
    page = link(job, key) if job else ""
    one = Companion(job, channel, dict(key), before, after, *rounded, by_chance=0.0, text="", link=page)
    compared.found.append((chance, -size, one))


def _of_expression(running: Running, job: str, expr: str, at: float, now: float, compared: _Compared) -> None:
    """Ask the source, within the budget."""
    facts = running.facts().jobs.get(job)
    step = facts.config.step if facts is not None else 60.0
    end = min(at + _ON * step, now)
    try:
        count = _asked(running, f"count({expr})", end, end, step, 2)
        series = int(count.values[-1]) if len(count.values) else 0
        if series > MOST_COUNTED:
            compared.notes.append(
                f"The expression has {series:,} series, more than {MOST_COUNTED:,}: it was not asked. Name more labels."
            )
            return
        answer = _asked(running, expr, at - _BACK * step, end, step, MOST_SERIES)
    except Spent as error:
        compared.notes.append(str(error))
        return
    except SourceError as error:
        compared.notes.append(f"The source did not answer: {error}")
        return
    if not answer.labels:
        compared.notes.append("The source has no series for this expression at that time.")
        return
    if dropped := answer.series_dropped.get("limit"):
        compared.notes.append(f"{dropped:,} series of the expression were left out: {MOST_SERIES:,} are compared.")
    if answer.warnings:
        compared.notes.append(f"The answer may not be whole: {'; '.join(answer.warnings)[:300]}")
    values = _grid(answer, at - _BACK * step, step, _BACK + _ON + 1)
    found = moved_at(_increases(values), _BACK)
    compared.series += int(np.isfinite(found.size).sum())
    for row in _strongest(found.chance, found.size):
        levels = finite(found.before[row]), finite(found.after[row])
        _add(compared, "", "", _key(answer.labels[row]), levels, found.size[row], found.chance[row])


def _asked(running: Running, expr: str, start: float, end: float, step: float, most: int) -> RangeResult:
    """Return the answer to a question that the budget allows. Raises Spent, SourceError."""
    running.budget.check()
    began, samples = time.monotonic(), 0
    try:
        answer = running.read_many(expr, start, end, step, most)
        samples = len(answer.values) + answer.samples_dropped.get("limit", 0)
    finally:
        running.budget.note(time.monotonic() - began, samples)
    return answer


def _key(labels: bytes) -> Key:
    return tuple(sorted(json.loads(labels).items()))


def _grid(answer: RangeResult, start: float, step: float, columns: int) -> Floats:
    """Return an answer as an array, shape (S, columns)."""
    values: Floats = np.full((len(answer.labels), columns), np.nan)
    rows = np.repeat(np.arange(len(answer.labels)), answer.counts)
    column = np.rint((answer.times - start) / step).astype(np.intp)
    inside = (column >= 0) & (column < columns)
    values[rows[inside], column[inside]] = answer.values[inside]
    return values


def _increases(values: Floats) -> Floats:
    """Return the steps of what only rises, as counters do, and all else as it is."""
    steps = np.diff(values, axis=1, prepend=np.nan)
    there = np.isfinite(steps)
    count = np.maximum(there.sum(axis=1), 1)
    rises = ((there & (steps >= 0)).sum(axis=1) >= _RISING * count) & ((there & (steps > 0)).sum(axis=1) > count / 4)
    found: Floats = np.where(rises[:, None], np.where(steps >= 0, steps, np.nan), values)
    return found


def _told(each: Companion, running: Running) -> str:
    """Write how a series moved, and how often one does."""
    name = series_told(each.job or "the source", each.labels)
    channel = f"{each.channel} of " if each.channel else ""
    often = f"1 in {max(round(1 / each.chance), 1):,} series moves so much by chance" if each.chance > 0 else "never"
    if each.before is None or each.after is None:
        return f"{channel}{name} moved; {often}"
    unit = _unit(each, running)
    verb = "rose" if each.after > each.before else "fell"
    levels = f"from {wording.number(each.before, unit)} to {wording.number(each.after, unit)}"
    return f"{channel}{name} {verb} {levels}; {often}"[: 3 * LONGEST]


def _unit(each: Companion, running: Running) -> Unit:
    facts = running.facts().jobs.get(each.job)
    if facts is None:
        return quantity_of(each.labels.get("__name__", "")).unit if each.labels.get("__name__") else ""
    units = facts.units
    return units.get(each.channel, "") if each.channel else next(iter(units.values()), "")
