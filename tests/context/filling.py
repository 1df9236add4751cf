"""Runs disks and queues through the cycle, and beside it the rules that are usual for them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from detectors.types import Flags, Floats
from detectors.units import DAY, HOUR
from exporter.backtest.replay import Columns, make_job, replay
from exporter.config.sections.forecast import CALM, SOON
from exporter.config.sections.job import JobConfig
from exporter.pipeline.reaches import Reaches
from exporter.source.samples import RangeResult
from tests.context.fills import EVERY, LEARNT, PER_HOUR, SAMPLES, Fill
from tests.support.cycles import MONDAY

WITHIN: Final = 3 * DAY
HISTORY: Final = 7 * DAY
"""What the job itself learns from; the rest it asks for by the hour."""


class Disks:
    """Answers as a Prometheus that holds the share that is used of each, also by the hour."""

    def __init__(self, fills: list[Fill]) -> None:
        names = [json.dumps({"instance": f"db-{n}", "kind": fill.kind}).encode() for n, fill in enumerate(fills)]
        used = np.stack([fill.used for fill in fills])
        first = round(MONDAY / EVERY)
        self._of_expr = Columns(names, used, first, EVERY)
        hourly = used[:, 1 : SAMPLES - PER_HOUR + 1].reshape(len(fills), -1, PER_HOUR).max(axis=2)
        self._by_hour = Columns(names, hourly, round(MONDAY / HOUR) + 1, HOUR)
        self.asked: list[str] = []

    def range(self, expr: str, start: float, end: float, step: float, max_series: int | None = None) -> RangeResult:
        self.asked.append(expr)
        return (self._by_hour if expr.startswith("max_over_time(") else self._of_expr).frame(start, end)

    def metric_types(self, _names) -> dict[str, str]:
        return {}


def config(**forecast: object) -> JobConfig:
    """Return a job on the share that is used."""
    return JobConfig.model_validate(
        {"expr": "used", "step": EVERY, "window": HOUR, "detector": "robust", "history": HISTORY, "direction": "above",
         "deploys": {"presets": []}, "forecast": {"limit": 1.0, "within": WITHIN, **forecast}}
    )  # fmt: skip


def forecasts(fills: list[Fill], source: Disks | None = None) -> Iterator[tuple[int, Reaches]]:
    """Yield number of the sample and forecast, from the end of the known time on."""
    job = make_job("disks", config(), source or Disks(fills), hold=True)
    first = round(MONDAY / EVERY)
    for verdict in replay(job, first + LEARNT, first + SAMPLES - PER_HOUR, lambda _: None):
        assert verdict.reaches is not None
        order = np.argsort([int(dict(key)["instance"].removeprefix("db-")) for key in verdict.keys])
        found = verdict.reaches
        ends = (each[order] for each in (found.early, found.expected, found.late))
        yield round((verdict.time - MONDAY) / EVERY), Reaches(found.limit, 0, *ends, found.states)


def predict_linear(used: Floats, over: float, within: float) -> Floats:
    """Return what predict_linear gives, shape (E, N): least squares over the last seconds, at a later time."""
    count = round(over / EVERY) + 1
    at = EVERY * (np.arange(count) - (count - 1.0))
    weights = 1 / count + (within - at.mean()) * (at - at.mean()) / ((at - at.mean()) ** 2).sum()
    found = np.full(used.shape, np.nan)
    for row, values in enumerate(used):
        found[row, count - 1 :] = np.convolve(values, weights[::-1], mode="valid")
    return found


def held(on: Flags, seconds: float) -> Flags:
    """Return where something has held for so long, as `for:` has it; shape (E, N)."""
    samples = round(seconds / EVERY)
    run = np.zeros(on.shape[0], np.int64)
    found = np.zeros(on.shape, np.bool_)
    for at in range(on.shape[1]):
        run = np.where(on[:, at], run + 1, 0)
        found[:, at] = run > samples
    return found


def usual_rules(used: Floats) -> dict[str, Flags]:
    """Return where the rules in use everywhere fire, shape (E, N)."""
    free = 1 - used
    return {
        "`predict_linear(…[6h], 3d)` for 1 h": held(predict_linear(used, 6 * HOUR, WITHIN) > 1, HOUR),
        "KubePersistentVolumeFillingUp": held(free < 0.03, 60)
        | held((free < 0.15) & (predict_linear(used, 6 * HOUR, 4 * DAY) > 1), HOUR),
        "NodeFilesystemSpaceFillingUp": held((free < 0.2) & (predict_linear(used, 6 * HOUR, DAY) > 1), HOUR),
    }


@dataclass(frozen=True)
class Told:
    """What alerts were worth: of what fills, and of what never does."""

    before: int
    lead: float
    late: int
    false: int
    wolf: int


def told(firing: Flags, fills: list[Fill]) -> Told:
    """Count alerts, shape (E, N): those before it is full, hours of lead, and those after which nothing fills.

    An alert is false when it is not full within twice `WITHIN` after it began.
    """
    leads, before, late, false, wolf = list[float](), 0, 0, 0, 0
    firing = np.where(np.arange(SAMPLES) < LEARNT, False, firing)
    for fill, row in zip(fills, firing, strict=True):
        begins = np.flatnonzero(row & ~np.roll(row, 1))
        full = SAMPLES * 10 if fill.full is None else fill.full
        begins = begins[begins < full]
        wrong = int((full - begins > 2 * WITHIN / EVERY).sum())
        false += wrong
        wolf += wrong > 0
        if fill.full is None:
            continue
        right = begins[full - begins <= 2 * WITHIN / EVERY]
        on = row[fill.full - 1]
        before += bool(on)
        late += not on
        if on and len(right):
            leads.append((fill.full - right[-1]) * EVERY / HOUR)
        elif on:
            leads.append(2 * WITHIN / HOUR)
    return Told(before, float(np.median(leads)), late, false, wolf)


@dataclass(frozen=True)
class Figures:
    """All of it, and how often the interval held what came."""

    alerts: dict[str, Told]
    covered: float
    too_early: float
    too_late: float
    stated: int
    by_kind: dict[str, tuple[int, float]]
    """Forecasts that were stated, and how often the interval held what came, of each kind."""


def figures(fills: list[Fill], for_: float = HOUR, keep: Callable[[int, Reaches], None] = lambda *_: None) -> Figures:
    """Run all of it.

    An interval counts once an hour while its early end is within `WITHIN`: is the time at which it was full in it?
    """
    firing, soon = (np.zeros((len(fills), SAMPLES), np.bool_) for _ in range(2))
    full = np.array([np.inf if fill.full is None else MONDAY + fill.full * EVERY for fill in fills])
    ends = []
    for at, found in forecasts(fills):
        keep(at, found)
        now = MONDAY + at * EVERY
        near = (found.early <= now + WITHIN) & np.isfinite(found.expected)
        firing[:, at] = near
        soon[:, at] = near & (found.early <= now + WITHIN / SOON)
        if at % PER_HOUR == 0:
            some = near & (full > now)
            ends.append(np.stack([full[some] < found.early[some], full[some] > found.late[some], np.flatnonzero(some)]))
    early, late, rows = np.concatenate(ends, axis=1)
    missed, kinds = (early + late) > 0, np.array([fill.kind for fill in fills])[rows.astype(int)]
    of_kind = {kind: kinds == kind for kind in dict.fromkeys(fill.kind for fill in fills)}
    by_kind = {kind: (int(at.sum()), float(1 - missed[at].mean())) for kind, at in of_kind.items() if at.any()}
    alerts = {"`forecast`": told(held(soon | held(firing, CALM * for_), for_), fills)}
    used = np.stack([fill.used for fill in fills])
    alerts |= {name: told(each, fills) for name, each in usual_rules(used).items()}
    return Figures(alerts, float(1 - missed.mean()), float(early.mean()), float(late.mean()), len(early), by_kind)
