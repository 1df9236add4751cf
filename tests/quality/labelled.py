"""The labelled sets, read once and judged by `evaluate.py` of the folder that DATA names."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from detectors import DETECTORS
from exporter.backtest.read_csv import read_folder
from exporter.backtest.resample import Group, group
from tests.quality import shared_tools
from tests.quality.contestants import judge, without_hold

RANKED = {"asd": frozenset(DETECTORS), "smd": frozenset({"auto", "autoencoder"})}
"""Who is ranked without hold on which set: on the long one only a few of those that are meant for many channels."""
TOO_SLOW = {"tsanomaly": frozenset({"smd", "asd"})}
"""Who would take more than ten minutes on which set: 500 µs for each sample of each of the channels."""
ALL = ("asd", "msft", "nab", "smd")
NAB = "NAB score of the incidents"


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """One set: its files as jobs read them, and as `evaluate.py` does."""

    name: str
    groups: list[Group]
    every: list[Any] = field(repr=False)


@cache
def read(data: Path, name: str) -> LabelledSet:
    """Read a set. Raises InputError, FileNotFoundError."""
    folder = data / "data" / name
    tool = shared_tools.load(data / "evaluate.py")
    every = [tool.Series(path) for path in sorted(folder.glob("*.csv*"))]
    return LabelledSet(name, group(read_folder(folder), None), every)


def found_head(name: str) -> str:
    """Return the head of the column with what was found on a set."""
    return f"{name}: found (by luck) at incidents/week"


def ranked_head(name: str) -> str:
    """Return the head of the column with the ranking on a set."""
    return f"{name}: recall@7, no hold"


HEADS = (*map(found_head, ALL), NAB, *map(ranked_head, RANKED))


def judged(contestant: str, data: Path, name: str) -> dict[str, str]:
    """Judge a set, and return the cells that come of it: what was found, and how well the scores rank."""
    those, tool = read(data, name), shared_tools.load(data / "evaluate.py")
    ranked = contestant in RANKED.get(name, ())
    answers, _ = judge(contestant, those.groups, "labels", ranked)
    flags = {each.name: answers[each.name].flag for each in those.every}
    found = tool.incidents(those.every, flags, name == "nab")
    cells = {found_head(name): f"{found['recall']:.2f} ({found['floor']:.2f}) at {found['opened_per_week']:.2f}"}
    if name == "nab":
        cells[NAB] = f"{found['nab']['standard']:.1f}"
    if ranked:
        scores = {each.name: np.asarray(answers[without_hold(each.name)].score) for each in those.every}
        cells[ranked_head(name)] = f"{tool.recall_at_budget(those.every, scores, 7.0):.2f}"
    return cells
