"""Runs the rollouts through the cycle, with and without knowing of them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from exporter.backtest.replay import Columns, make_job, replay
from exporter.config.sections.job import JobConfig
from exporter.context.deploy_book import DeployBook
from exporter.context.own_deploys import OwnDeploys
from exporter.pipeline.verdict import Verdict
from exporter.source.samples import NOTHING, RangeResult
from tests.context.rollouts import KINDS, LEARNT, SAMPLES, Rollout, World
from tests.support.cycles import MONDAY, STEP


class Services:
    """Answers as a Prometheus that holds the series of a kind, and `deploys`."""

    def __init__(self, world: World) -> None:
        first = round(MONDAY / STEP)
        self._columns = {
            kind: Columns(
                [json.dumps({"service": service}).encode() for service, each in world.series if each == kind],
                np.stack([values for (_, each), values in world.series.items() if each == kind]),
                first,
                STEP,
            )
            for kind in KINDS
        }
        told = np.full((len(world.rollouts), SAMPLES), np.nan)
        for row, rollout in enumerate(world.rollouts):
            told[row, rollout.at + 1] = 1.0
        names = [json.dumps({"service": r.service, "version": r.version}).encode() for r in world.rollouts]
        self._columns["deploys"] = Columns(names, told, first, STEP)

    def range(self, expr: str, start: float, end: float, step: float, max_series: int | None = None) -> RangeResult:
        return self._columns[expr].frame(start, end) if expr in self._columns else NOTHING

    def metric_types(self, _names) -> dict[str, str]:
        return {}


def verdicts(world: World, kind: str, knows: bool, **settings) -> Iterator[Verdict]:
    """Yield the verdicts of a job on one kind of series, from the first rollout on."""
    deploys = {"presets": [], "expr": "deploys"} | settings.pop("deploys", {}) if knows else {"presets": []}
    direction = "below" if kind == "requests" else "above"
    config = JobConfig.model_validate(
        {"expr": kind, "history": LEARNT * STEP, "direction": direction, "deploys": deploys} | settings
    )
    source = Services(world)
    job = make_job(kind, config, source, hold=True, jobs=len(KINDS))
    if knows:
        job.deploys = OwnDeploys(DeployBook(source), waits=True)
    first = round(MONDAY / STEP)
    yield from replay(job, first + LEARNT - 1, first + SAMPLES - 1, lambda _: None)


@dataclass(frozen=True)
class Incident:
    """One incident as it was shown; times in samples."""

    service: str
    kind: str
    since: int
    alert: int | None
    named: tuple[str, ...]


def incidents(world: World, knows: bool, kinds: tuple[str, ...] = KINDS, **settings) -> list[Incident]:
    """Return all incidents of the days with rollouts."""
    found: dict[tuple[str, str, int], Incident] = {}
    for kind in kinds:
        for verdict in verdicts(world, kind, knows, **settings):
            at = round((verdict.time - MONDAY) / STEP)
            for row in np.flatnonzero(verdict.flag).tolist():
                service = dict(verdict.keys[row])["service"]
                since = round((float(verdict.since[row]) - MONDAY) / STEP)
                before = found.get((service, kind, since))
                alert = at if verdict.alert[row] else None
                if before is not None and before.alert is not None:
                    alert = before.alert
                named = tuple(each.version for each in verdict.deploys.get(row, ()))
                found[service, kind, since] = Incident(service, kind, since, alert, named)
    return list(found.values())


@dataclass(frozen=True)
class Figures:
    """What came of the rollouts of one seed."""

    good_alerts: int
    good_opened: int
    good_named: int
    bad_alerted: int
    bad_named: int
    later_alerted: int
    later_blamed: int
    wrong: int


def figures(world: World, found: list[Incident]) -> Figures:
    """Count: of good rollouts within two hours, of bad ones within ten minutes of their fault, of later faults."""
    good = [r for r in world.rollouts if not r.bad]
    bad = [r for r in world.rollouts if r.bad]

    def of(rollout: Rollout, first: int, last: int) -> list[Incident]:
        return [each for each in found if each.service == rollout.service and first <= each.since <= last]

    near = [each for r in good for each in of(r, r.at - 2, r.at + 30)]
    alerted = [
        r
        for r in bad
        if any(each.alert is not None and each.alert - r.fault <= 10 for each in of(r, r.at - 2, r.at + 10))
    ]
    named = [
        r
        for r in alerted
        if any(each.alert is not None and r.version in each.named for each in of(r, r.at - 2, r.at + 10))
    ]
    later = [of(r, r.fault, r.fault + 60) for r in world.later]
    own = {r.service: r.version for r in world.rollouts}
    return Figures(
        good_alerts=sum(each.alert is not None for each in near),
        good_opened=len(near),
        good_named=sum(own[each.service] in each.named for each in near),
        bad_alerted=len(alerted),
        bad_named=len(named),
        later_alerted=sum(any(each.alert is not None for each in some) for some in later),
        later_blamed=sum(any(each.named for each in some) for some in later),
        wrong=sum(any(name != own[each.service] for name in each.named) for each in found),
    )
