"""A rack of 40 services that fails, through the cycle and the receivers: what is sent, and who moved first.

The first service fails at once, the others feel it one to eight minutes later, in latency and in requests, each by
another factor; the services of four other racks go on as before.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from exporter.backtest.replay import Columns, make_job, replay
from exporter.config.sections.job import JobConfig
from exporter.config.sections.root import Config
from exporter.pipeline.verdict import Verdict
from exporter.sinks.joint_log import JointLog
from exporter.sinks.notify.delivery import DeliveryState
from exporter.sinks.notify.joined import note_joint
from exporter.sinks.notify.message import compose
from exporter.sinks.recent import RecentVerdicts
from tests.support.cycles import DAY, HOUR, MONDAY, STEP

RACKS, OF_A_RACK = 5, 40
LEARNT, FAULT = DAY, DAY + HOUR
SAMPLES = FAULT + 45
KINDS = {"latency": "above", "requests": "below"}


@dataclass(frozen=True)
class World:
    """All series by kind, shape (services, samples), and the service that fails first."""

    names: list[dict[str, str]]
    values: dict[str, np.ndarray]
    first: str
    rack: str


def world(seed: int) -> World:
    """Return one rack that fails among others."""
    rng = np.random.default_rng(seed)
    names = [
        {"service": f"s{rack}-{n}", "rack": f"r{rack}", "env": "prod"}
        for rack in range(RACKS)
        for n in range(OF_A_RACK)
    ]
    at = np.arange(SAMPLES)
    day = 1 + 0.4 * np.sin(2 * np.pi * at / DAY + rng.uniform(0, 6))
    level = rng.uniform(0.5, 2.0, (len(names), 1))
    noise = {kind: rng.standard_t(5, (len(names), SAMPLES)) for kind in KINDS}
    values = {
        "latency": 0.2 * level * day**0.3 * np.exp(0.06 * noise["latency"]),
        "requests": 300 * level * day * (1 + 0.04 * noise["requests"]),
    }
    failing = int(rng.integers(RACKS))
    rows = rng.permutation(np.arange(failing * OF_A_RACK, (failing + 1) * OF_A_RACK))
    for number, row in enumerate(rows.tolist()):
        for kind in KINDS:
            begins = FAULT if number == 0 else FAULT + int(rng.integers(1, 9))
            grown = np.minimum((at[begins:] - begins + 1) / rng.uniform(1, 3), 1.0)
            if kind == "latency":
                values[kind][row, begins:] *= 1 + rng.uniform(1.5, 5.0) * grown
            else:
                values[kind][row, begins:] *= 1 - rng.uniform(0.4, 0.9) * grown
    return World(names, values, names[rows[0]]["service"], f"r{failing}")


def verdicts(of: World, kind: str) -> Iterator[Verdict]:
    """Yield the verdicts of a job on one kind of series, one a minute."""
    first = round(MONDAY / STEP)
    labels = [json.dumps(name).encode() for name in of.names]
    source = _Source({kind: Columns(labels, of.values[kind], first, STEP)})
    config = JobConfig.model_validate(
        {"expr": kind, "history": LEARNT * STEP, "direction": KINDS[kind], "deploys": {"presets": []}}
    )
    job = make_job(kind, config, source, hold=True, jobs=len(KINDS))
    yield from replay(job, first + LEARNT - 1, first + SAMPLES - 1, lambda _: None)


class _Source:
    def __init__(self, columns: dict[str, Columns]) -> None:
        self._columns = columns

    def range(self, expr, start, end, step, max_series=None):
        if expr not in self._columns:
            return Columns([], np.empty((0, 0)), 0, STEP).frame(start, end)
        return self._columns[expr].frame(start, end)

    def metric_types(self, _names):
        return {}


@dataclass(frozen=True)
class Outcome:
    """What came of the failure: messages on the rack, the first of them, incidents in its joint ones, those of others.

    `joints` is how many joint incidents the rack's incidents belong to, `named` whether the first message says which
    series moved first.
    """

    messages: int
    text: str
    series: int
    joints: int
    foreign: int
    named: bool


def outcome(of: World) -> Outcome:
    """Run the failure through cycle, sinks and one receiver."""
    config = Config.model_validate({"jobs": {kind: {"expr": "up"} for kind in KINDS}})
    recent = RecentVerdicts()
    log = JointLog(recent)
    for sink in (recent, log):
        sink.prepare(config).commit()
    state, sent = DeliveryState(), []
    for some in zip(*(verdicts(of, kind) for kind in KINDS), strict=True):
        for verdict in some:
            recent.record(verdict)
            log.record(verdict)
            state.take(verdict, "alert")
        note_joint(state.incidents(), log.joined)
        state.absorb()
        pending = state.pending()
        if pending.size:
            if any(each.labels["rack"] == of.rack for some in pending.opened.values() for each in some):
                sent.append(compose(pending, "", some[0].time))
            state.mark_sent(pending)
    mine = [j for j in log.open() if any(each.labels["rack"] == of.rack for each in j.members)]
    largest = max(mine, key=lambda each: len(each.members))
    return Outcome(
        messages=len(sent),
        text=sent[0] if sent else "",
        series=len(largest.members),
        joints=len(mine),
        foreign=sum(each.labels["rack"] != of.rack for each in largest.members),
        named=bool(sent) and re.search(rf"service={of.first} in \w+ moved first", sent[0]) is not None,
    )


if __name__ == "__main__":
    import sys
    import time

    for seed in map(int, sys.argv[1:]):
        began = time.time()
        one = world(seed)
        print(seed, one.first, outcome(one), round(time.time() - began))
