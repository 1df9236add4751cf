"""Many kinds of series through the live cycle: what opens by chance at each line, and what is found of changes."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from detectors import Flags, Floats
from detectors.units import DAY, HOUR
from exporter.backtest.replay import replay
from exporter.pipeline.policy import Policy
from tests.support.cycles import recorded_job
from tests.support.kinds_of_series import CHANGES, SHAPES, START, ZONES, Made, make, weeks
from tests.support.replay import openings

AIM: Final = (0.5, 1.3)
"""Openings may be so many times the line."""
SETTLED: Final = 3 * DAY
"""Openings count from here on."""


@dataclass(frozen=True)
class Part:
    """Series of every kind at one step, judged at one line (incidents a week that open by chance)."""

    step: float
    line: float
    days: float
    each: int

    @property
    def title(self) -> str:
        """Head of its column."""
        at = f"{self.step:g} s" if self.step < 60 else f"{self.step / 60:g} min" if self.step < HOUR else "1 h"
        return f"{at}, line {self.line:g}"


PARTS: Final = (
    *(Part(60.0, line, 17, 4) for line in (1.0, 0.25, 7.0)),
    *(Part(300.0, line, 31, 6) for line in (1.0, 0.25, 7.0)),
    Part(5.0, 1.0, 4.5, 4),
    Part(HOUR, 1.0, 73, 6),
)
SIZES: Final = (*(f"{100 * (factor - 1):+.0f} % found" for factor in CHANGES), "burst found")
HEADS: Final = (*(f"opened, {part.title}" for part in PARTS), *SIZES, "held")


@dataclass
class Count:
    """What became of the series of one kind."""

    opened: int = 0
    weeks: float = 0.0
    found: defaultdict[float, list[bool]] = field(default_factory=lambda: defaultdict(list))
    held: list[float] = field(default_factory=list)


Counts = dict[str, Count]
"""By kind."""


@dataclass(frozen=True)
class _Lines(Policy):
    """The policy of a job whose entities have lines of their own."""

    factors: Floats = field(default_factory=lambda: np.ones(1))
    """Of their scores, shape (E,)."""

    def scores(self, score: Floats, counts: Flags, invalid: Flags) -> Floats:
        return Policy.scores(self, score * self.factors, counts, invalid)


def of_one_length() -> list[tuple[Part, ...]]:
    """Return the parts in groups that differ in their lines alone."""
    groups: defaultdict[Part, list[Part]] = defaultdict(list)
    for part in PARTS:
        groups[replace(part, line=1.0)].append(part)
    return [tuple(group) for group in groups.values()]


def count(parts: Sequence[Part], seed: int, detector: str = "auto") -> dict[Part, Counts]:
    """Judge the same series at the lines of all `parts`, which have the same step, days and series.

    They are copies in one job: a cycle costs little more for two hundred series than for sixty.
    """
    counts: dict[Part, Counts] = {each: {} for each in parts}
    part = parts[0]
    of = {name: _zone(name, part) for name in SHAPES}
    for zone in (None, *sorted({each for each in of.values() if each})):
        names = [name for name in SHAPES if of[name] == zone]
        made = {
            f"{name} {number}": make(
                name, np.random.default_rng([seed, round(part.step), at, number]), part.step, part.days, number
            )
            for at, name in enumerate(names)
            for number in range(part.each)
        }
        spec = detector if zone is None else {detector: {"time_zone": zone}}
        for each, flag in _flags(parts, {name: one.values for name, one in made.items()}, spec):
            counts[each] |= {name: Count() for name in names}
            for (name, one), row in zip(made.items(), flag, strict=True):
                _add(counts[each][name.rsplit(" ", 1)[0]], one, row, part.step)
    return counts


def _flags(
    parts: Sequence[Part], series: dict[str, Floats], detector: str | dict[str, Any]
) -> Iterator[tuple[Part, Flags]]:
    """Yield the flags, shape (E, N), of the series at the line of each part."""
    step = parts[0].step
    copies = {f"{name}, line {part.line:g}": values for part in parts for name, values in series.items()}
    job, samples = recorded_job(copies, START, 1, step, detector=detector, window=HOUR / 60 * step)
    factors = [replace(job.learnt.policy, false_alarms=part.line).scale for part in parts]
    job.learnt.policy = _Lines(factors=np.repeat(factors, len(series)))
    flag = np.zeros((len(copies), samples), np.bool_)
    first = round(START / step)
    for verdict in replay(job, first, first + samples - 1, lambda _: None):
        flag[:, round(verdict.time / step) - first] = verdict.flag
    yield from zip(parts, np.split(flag, len(parts)), strict=True)


def _zone(name: str, part: Part) -> str | None:
    """Return the zone that the job of a kind is told; None where its clocks do not change."""
    zone = ZONES.get(name)
    if zone is None:
        return None
    begin, end = (datetime.fromtimestamp(time, ZoneInfo(zone)).utcoffset() for time in (START, START + part.days * DAY))
    return None if begin == end else zone


def _add(total: Count, made: Made, flag: Flags, step: float) -> None:
    quiet = made.quiet.copy()
    quiet[: round(SETTLED / step)] = False
    total.opened += int((openings(flag[None])[0] & quiet).sum())
    total.weeks += weeks(quiet, step)
    soon = max(round(600 / step), 3)
    for change in made.changes:
        inside = flag[change.begin : change.end]
        total.found[change.factor].append(bool(inside[:soon].any()))
        if inside[:soon].any():
            total.held.append(float(inside[soon:].mean()))


def cells(found: Iterable[tuple[Part, Counts]]) -> dict[str, dict[str, str]]:
    """Return the rows of the table; changes are counted at line 1, over all steps."""
    every = {part: {**counts, "all": _sum(counts.values())} for part, counts in found}
    rows: dict[str, dict[str, str]] = {}
    for kind in (*SHAPES, "all"):
        row = rows[kind] = {}
        for part, counts in every.items():
            if kind in counts:
                row[f"opened, {part.title}"] = f"{counts[kind].opened / max(counts[kind].weeks, 1e-9):.2f}"
        total = _sum(counts[kind] for part, counts in every.items() if part.line == 1.0 and kind in counts)
        by_size: defaultdict[str, list[bool]] = defaultdict(list)
        for factor, hits in total.found.items():
            by_size[SIZES[CHANGES.index(factor) if factor in CHANGES else -1]] += hits
        row |= {size: f"{np.mean(hits):.2f}" for size, hits in by_size.items()}
        if total.held:
            row["held"] = f"{np.mean(total.held):.2f}"
    return rows


def promises(found: Iterable[tuple[Part, Counts]]) -> Iterator[tuple[str, int, int]]:
    """Yield what is promised of every kind at a step and line, how many kinds keep it, and how many there are."""
    for part, counts in found:
        least, most = (limit * part.line for limit in AIM)
        kept = [least <= each.opened / max(each.weeks, 1e-9) <= most for each in counts.values()]
        yield f"opened within {AIM[0]:g} to {AIM[1]:g} times the line, {part.title}", sum(kept), len(kept)
        if part.line == 1.0:
            large = [hits for each in counts.values() for factor in (0.2, 4.0) for hits in each.found[factor]]
            yield f"-80 % and +300 % found within ten minutes or three samples, {part.title}", sum(large), len(large)


def _sum(counts: Iterable[Count]) -> Count:
    total = Count()
    for each in counts:
        total.opened += each.opened
        total.weeks += each.weeks
        total.held += each.held
        for factor, hits in each.found.items():
            total.found[factor] += hits
    return total
