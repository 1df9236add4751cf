"""What context costs in memory at 100,000 series, a process for each case: `python -m tests.context.cost_memory`.

Sizes of arrays tell little: pages that nothing was written to take no memory, and what a cycle works out in between
takes some. So the resident memory of a process that only judges is compared with that of one that has context too.
"""

import argparse
import dataclasses
import gc
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import Final

import numpy as np

from detectors import Batch, Key, make
from exporter.config.sections.job import JobConfig
from exporter.context.deploy_book import DeployBook
from exporter.context.deploys import Deploy
from exporter.context.own_deploys import IncidentDeploys, OwnDeploys
from exporter.pipeline.after_deploy import Caution
from exporter.pipeline.peer_groups import PeerCount
from exporter.pipeline.presence import Presence
from exporter.pipeline.verdict import Verdict
from exporter.service.free_memory import give_back, share_one_heap
from exporter.sinks.joint_log import JointLog
from tests.bench.usage import memory
from tests.context.cost import SERIES, START, every_key, forecasts
from tests.support.verdicts import verdict

CYCLES: Final = 130
"""Minutes: each series has had one whole hour, of which the largest values are counted."""
CASES: Final = {
    "auto": (),
    "deploys, ends, joint incidents": ("others",),
    "peers": ("peers",),
    "forecasts of one in ten": ("tenth",),
    "forecasts of all": ("all",),
    "all of it, forecasts of one in ten": ("others", "peers", "tenth"),
    "all of it, forecasts of all": ("others", "peers", "all"),
}


def main() -> None:
    """Print MiB at rest and at most, by case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=CYCLES)
    parser.add_argument("cases", nargs="*", choices=[[], *CASES])
    asked = parser.parse_args()
    base: dict[str, float] = {}
    for case in asked.cases or CASES:
        # One after the other, each in a new process: none has the memory of another one.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            found = pool.submit(_used, CASES[case], asked.cycles).result()
        base = base or found
        more = ", ".join(f"{found[name] - base[name]:+.1f}" for name in found)
        print(f"{case}: {found['rss']:.0f} MiB at rest, {found['peak']:.0f} at most ({more})", flush=True)


def _used(parts: tuple[str, ...], cycles: int) -> dict[str, float]:
    """Return what a process takes that judges with these parts of context."""
    share_one_heap()
    keys = every_key()
    rng, nobody = np.random.default_rng(1), np.zeros(SERIES, np.bool_)
    peers = ("service",) if "peers" in parts else None
    detector, count = make("auto", 60, peers), PeerCount(JobConfig(expr="x", peers=peers))
    others = _Others(keys) if "others" in parts else None
    of = keys if "all" in parts else keys[::10] if "tenth" in parts else ()
    forecast = forecasts(of) if of else None
    level, calm = rng.lognormal(0, 0.5, SERIES), verdict(keys)
    before = level * rng.lognormal(0, 0.1, SERIES)
    for cycle in range(cycles):
        now, values = START + 60 * cycle, level * rng.lognormal(0, 0.1, SERIES)
        part = Batch(keys, ("value",), np.array([now - 60, now]), np.stack([before, values], axis=1)[:, None])
        before = values
        judged = detector.score(part)
        count.take(keys)
        if others is not None:
            others.cycle(now, calm)
        if forecast is not None:
            reaches = forecast.take(of, 0.5 + 0.005 * rng.standard_normal(len(of)), now, live=True)
            del reaches
        detector.update(part.last(1), nobody, nobody)
        del judged
    peak = memory("self")["peak"]
    gc.collect()
    give_back()
    return {"rss": memory("self")["rss"], "peak": peak}


class _Others:
    """Deploys and owners, series that end, and joint incidents."""

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self._config, self._keys = JobConfig(expr="x"), keys
        self._presence, self._deploys, self._named = Presence(self._config), OwnDeploys(DeployBook()), IncidentDeploys()
        self._there, self._nobody = np.ones(SERIES, np.bool_), np.zeros(SERIES, np.bool_)
        self._since, self._joint = np.full(SERIES, np.nan), JointLog()

    def cycle(self, now: float, calm: Verdict) -> None:
        known = tuple(Deploy(now - 60 * n, (("service", f"s{n}"),), "v2") for n in range(100, 1, -1))
        deploys, config, keys = self._deploys, self._config.deploys, self._keys
        deploys._known, deploys._of = known, (deploys.book.revision, config)
        deployed = deploys.newest(config, keys, now)
        Caution.of(config, deployed, now, 60.0, self._since, self._nobody)
        self._named.take(deploys, config, keys, now, self._nobody, self._since)
        self._presence.take(keys, self._there, now, whole=True, live=True)
        self._joint.record(dataclasses.replace(calm, time=now))


if __name__ == "__main__":
    main()
