"""Series whose truth is known: made and judged by `sensitivity.py` of the folder that DATA names."""

import contextlib
import io
import json
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import pandas as pd

from detectors import Floats
from exporter.backtest.read_csv import read_folder
from exporter.backtest.resample import Group, group
from tests.quality import shared_tools
from tests.quality.contestants import PACKAGES, Answers, judge
from tests.quality.cost import TIME

DAYS: Final = (3, 7, 14)
"""Days of history; 28 would double the time, and hardly differ from 14."""
SLOW: Final = {
    "river": 1,
    "tsanomaly": 1,
    "lstm": 2,
    "vae": 2,
    "autoencoder": 2,
    "ensemble": 2,
    "TSB-AD Sub-PCA": 2,
}
"""Series of each kind, size and history for those that take long; the others get as many as are made."""
BRIEF: Final = {"tsanomaly": (7,), "river": (3, 7)}
"""Who is judged on fewer days."""
LEARNT: Final = "2d"
"""History that a trained detector is trained on: its openings count from then on."""

SHARE, HALF, REQUESTS, HELD, OPENED, WIDTH = HEADS = (
    "found, of the oracle's",
    "±50 % found",
    "requests -50 % found",
    "held",
    "opened a week",
    "band ÷ oracle's",
)


@dataclass(frozen=True)
class Truth:
    """A folder that `sensitivity.py make` filled, as the jobs read it."""

    tool: Path
    folder: Path
    seeds: int


def make(data: Path, folder: Path, seed: int, seeds: int) -> Truth:
    """Make the series. Raises FileNotFoundError."""
    tool = shared_tools.load(data / "sensitivity.py")
    tool.DAYS = DAYS
    tool.make(folder, seed, seeds)
    return Truth(data / "sensitivity.py", folder, seeds)


@cache
def read(truth: Truth, days: int) -> tuple[Group, ...]:
    """Return the series with so many days of history, as jobs read them."""
    return tuple(group(read_folder(truth.folder / f"d{days}"), None))


def sensitivity(contestant: str, truth: Truth, out: Path) -> dict[str, str]:
    """Judge the series and return the cells that come of it; `out` is filled with answers as a backtest writes them."""
    seeds = min(SLOW.get(contestant, truth.seeds), truth.seeds)
    expect = {
        name: each
        for name, each in json.loads((truth.folder / "expect.json").read_text()).items()
        if int(name.rsplit("-", 1)[1]) < seeds and each["days"] in BRIEF.get(contestant, DAYS)
    }
    out.mkdir(parents=True)
    (out / "expect.json").write_text(json.dumps(expect))
    # All begin on a Monday, so they become one job: a cycle of four hundred series costs little more than one of some.
    parts = [_only(each, expect) for days in BRIEF.get(contestant, DAYS) for each in read(truth, days)]
    answers, cost = judge(contestant, parts, LEARNT)
    _write(answers, expect, out)
    tool = shared_tools.load(truth.tool)
    with contextlib.redirect_stdout(io.StringIO()):
        tool.judge(out, out, out / "figures.json")
    figures = json.loads((out / "figures.json").read_text())
    requests = [_found(answers[name].flag, each) for name, each in expect.items() if _is_half_of_requests(each)]
    width = _width(answers, expect, tool)
    return {
        SHARE: f"{figures['share']:.2f}",
        HALF: f"{figures['found_50']:.2f}",
        REQUESTS: f"{np.mean(requests):.2f}",
        HELD: f"{figures['held']:.2f}" if figures["held"] == figures["held"] else "-",
        OPENED: f"{figures['openings_per_week']:.2f}",
        WIDTH: f"{width:.1f}" if np.isfinite(width) else "-",
    } | ({TIME: f"{cost:.1f}"} if contestant in PACKAGES else {})


def _only(each: Group, expect: dict[str, Any]) -> Group:
    rows = [row for row, series in enumerate(each.series) if series.name in expect]
    series, slots = [each.series[row] for row in rows], [each.slots[row] for row in rows]
    return Group(series, each.step, each.origin, each.values[rows], slots, each.clock)


def _write(found: dict[str, Answers], expect: dict[str, Any], folder: Path) -> None:
    """Write what the tool reads of answers, by days of history: of the band only the hour before the change."""
    for name, each in found.items():
        columns = {"flag": each.flag.astype(int)}
        before = slice(expect[name]["from"] - 60, expect[name]["from"])
        for part in ("lower", "upper", "expected") if len(each.lower) else ():
            columns[part] = np.full(len(each.flag), np.nan)
            columns[part][before] = getattr(each, part)[before].round(4)
        of_days = folder / f"d{expect[name]['days']}"
        of_days.mkdir(exist_ok=True)
        pd.DataFrame(columns).to_csv(of_days / f"{name}.csv", index=False)


def _found(flag: Floats, each: dict[str, Any]) -> bool:
    return bool(flag[each["from"] : each["from"] + 10].any())


def _is_half_of_requests(each: dict[str, Any]) -> bool:
    return each["kind"] == "requests" and each["effect"] == -0.5


def _width(answers: dict[str, Answers], expect: dict[str, Any], tool: ModuleType) -> float:
    """Return the median over the kinds of the band's width, in widths of what the true noise reaches once a week."""
    widths: defaultdict[str, list[float]] = defaultdict(list)
    for name, each in expect.items():
        said, before = answers[name], slice(each["from"] - 60, each["from"])
        if len(said.lower) and np.isfinite(said.lower[before]).any():
            width = (said.upper[before] - said.lower[before]) / np.maximum(np.abs(said.expected[before]), 1e-9)
            widths[each["kind"]].append(float(np.nanmedian(width)))
    ratios = [np.median(each) / oracles_width(kind, tool) for kind, each in widths.items()]
    return float(np.median(ratios)) if ratios else np.nan


@cache
def oracles_width(kind: str, tool: ModuleType) -> float:
    """Return twice the relative deviation from the true mean that a sample without change exceeds once a week."""
    rng, maxima = np.random.default_rng(4712), []
    for _ in range(12):
        mean, values, *_ = tool.one(rng, kind, 14, 0.0)
        away = np.abs(values - mean) / mean
        maxima.append(away.reshape(-1, 60).max(axis=1))
    return 2 * float(np.sort(np.concatenate(maxima))[-round(12 * 15 / 7)])
