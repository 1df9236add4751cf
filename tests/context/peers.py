"""Measures what peers tell, beside what is known without them: `python -m tests.context.peers`, and `make context`."""

import argparse
import json
import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import structlog

from detectors.streams import BESIDE, strongest
from exporter.backtest.replay import Columns, make_job, replay
from exporter.config.sections.job import JobConfig
from exporter.source.samples import RangeResult
from tests.context.page import write
from tests.context.peer_groups import FAULTS, LENGTH, SIZES, World, world
from tests.support.cycles import DAY, HOUR, MONDAY, STEP

METHODS: Final = {
    "`auto` with `peers`": {"detector": "auto", "peers": ["group"]},
    "`auto`": {"detector": "auto"},
    "detector `peers`": {"detector": "peers", "peers": ["group"]},
}
RULE: Final = "`abs(x - avg) > 3 * stddev`, by group"
_WITHIN: Final = 10
"""Samples within which a fault is found in time."""


class Members:
    """Answers as a Prometheus that holds the series of a world."""

    def __init__(self, made: World) -> None:
        labels = [json.dumps(dict(key)).encode() for key in made.keys]
        self._columns = Columns(labels, made.values, round(MONDAY / STEP), STEP)

    def range(self, expr: str, start: float, end: float, step: float, max_series: int | None = None) -> RangeResult:
        return self._columns.frame(start, end)

    def metric_types(self, _names) -> dict[str, str]:
        return {}


@dataclass(frozen=True)
class Opening:
    """An incident that opened; `beside` if peers spoke loudest for it."""

    row: int
    at: int
    beside: bool


def openings(made: World, **settings) -> Iterator[Opening]:
    """Yield the incidents that the cycle opens after the first hour."""
    config = JobConfig.model_validate({"expr": "x", "history": HOUR * STEP, "deploys": {"presets": []}} | settings)
    job = make_job("members", config, Members(made), hold=True, jobs=1)
    rows = {key: row for row, key in enumerate(made.keys)}
    first = round(MONDAY / STEP)
    for verdict in replay(job, first + HOUR, first + made.values.shape[1] - 1, lambda _: None):
        new = np.flatnonzero(verdict.flag & verdict.changed)
        if not len(new):
            continue
        told = verdict.streams
        for row in new.tolist():
            beside = False
            if told is not None and row in told.rows:
                each = int(np.searchsorted(told.rows, row))
                best = int(strongest(told.size[each : each + 1], told.period[each : each + 1])[0])
                beside = BESIDE.start <= best < BESIDE.stop
            yield Opening(rows[verdict.keys[row]], round((verdict.time - MONDAY) / STEP), beside)


def of_rule(made: World) -> Iterator[Opening]:
    """Yield what a rule opens that compares with the mean of the group; it is over after five minutes of silence."""
    group = np.array(made.group_of)
    for number in range(group.max() + 1):
        rows = np.flatnonzero(group == number)
        values = made.values[rows]
        fires = np.abs(values - values.mean(axis=0)) > 3 * values.std(axis=0)
        for row, flags in zip(rows.tolist(), fires, strict=True):
            at = np.flatnonzero(flags)
            for sample in at[np.diff(at, prepend=-10) > 5].tolist():
                yield Opening(row, sample, True)


def figures(made: World, found: list[Opening], from_day: int) -> dict[str, str]:
    """Return the figures of a method: openings by chance from a day on, faults found, and what common moves raised."""
    group, faults = made.group_of, {fault.row: fault for fault in made.faults}
    moves: dict[int, list[tuple[int, int]]] = {}
    for number, first, last in made.moves:
        moves.setdefault(number, []).append((first, last))
    samples, chance, moved = made.values.shape[1], dict.fromkeys(SIZES, 0), 0
    for each in found:
        fault = faults.get(each.row)
        if fault is not None and fault.at <= each.at <= fault.at + LENGTH + 10:
            continue
        if any(first - 5 <= each.at <= last + HOUR for first, last in moves.get(group[each.row], [])):
            moved += each.beside
        elif each.at >= from_day * DAY:
            chance[int(made.size[each.row])] += 1
    weeks = (samples / DAY - from_day) / 7
    told = {}
    for size in SIZES:
        told[f"openings by chance per series and week, groups of {size} (wanted: 0.5 to 1.3)"] = (
            f"{chance[size] / ((made.size == size).sum() * weeks):.2f}"
        )
    by_row: dict[int, list[int]] = {}
    for each in found:
        by_row.setdefault(each.row, []).append(each.at)
    for kind in FAULTS:
        of_kind = [fault for fault in made.faults if fault.kind == kind]
        seen = sum(any(f.at <= at <= f.at + _WITHIN for at in by_row.get(f.row, ())) for f in of_kind)
        told[f"{kind}: found within 10 minutes"] = f"{seen} of {len(of_kind)}"
    of_members = sum(int(made.size[group.index(number)]) for number, _, _ in made.moves)
    told[f"of {of_members:,} members of groups that moved: raised beside their peers (wanted: 0)"] = str(moved)
    return told


def _of_method(seed: int, groups: int, days: int, settings: dict[str, object]) -> list[Opening]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    return list(openings(world(seed, groups, days * DAY), **settings))


def table(seed: int, groups: int, days: int) -> str:
    """Return the figures of all methods as Markdown."""
    made, from_day = world(seed, groups, days * DAY), min(7, days - 2)
    with ProcessPoolExecutor(2) as pool:
        found = pool.map(partial(_of_method, seed, groups, days), METHODS.values())
        columns = dict(zip(METHODS, (figures(made, each, from_day) for each in found), strict=True))
    columns[RULE] = figures(made, list(of_rule(made)), from_day)
    head = f"seed {seed}, {groups} groups, {len(made.keys):,} series, {days} days, from day {from_day}"
    lines = [f"| {head} | {' | '.join(columns)} |", f"|-|{'-|' * len(columns)}"]
    lines += [
        f"| {name} | {' | '.join(each[name] for each in columns.values())} |" for name in next(iter(columns.values()))
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure with a fresh seed and write docs/context.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(1000, 10_000))
    parser.add_argument("--groups", type=int, default=200)
    parser.add_argument("--days", type=int, default=21)
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    print(f"seed {asked.seed}", flush=True)
    text = table(asked.seed, asked.groups, asked.days)
    write(Path("docs/context.md"), "peers", text)
    print(text)


if __name__ == "__main__":
    main()
