"""`python -m tests.bench.beside`: what a cycle costs while the workbench replays, and while it does not.

A cycle judges 10,000 series from memory; the replay of every sample of 100 series over three days goes on in its own
process. The two kinds of rounds take turns, so that other work on the machine counts for both.
"""

import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from deploy.demo.history import openmetrics
from deploy.demo.servers import PrometheusServer, backfill
from exporter.backtest.replay import make_job, replay
from exporter.config.sections.job import JobConfig
from exporter.preview import messages
from exporter.preview.process import Replaying
from tests.bench.report import Row, command, say, seconds, working
from tests.support.memory_source import FIRST, STEP, Memory

HOUR = 60


def cycles(series: int, count: int) -> Iterator[float]:
    """Yield the seconds of one cycle after the other."""
    values = 50 + np.random.default_rng(1).normal(size=(series, 3 * HOUR + count))
    job = JobConfig.model_validate({"expr": "value", "history": "1h", "window": "1h"})
    live = make_job("new", job, Memory(value=values), hold=True)
    verdicts = replay(live, FIRST + 2 * HOUR, FIRST + 3 * HOUR + count - 1, lambda _: None)
    next(verdicts)
    began = time.perf_counter()
    for _ in verdicts:
        yield time.perf_counter() - began
        began = time.perf_counter()


def lines(series: int, samples: int, end: float) -> Iterator[str]:
    rng, times = np.random.default_rng(2), end - STEP * np.arange(samples - 1, -1, -1)
    for row in range(series):
        yield from openmetrics("load", {"instance": str(row)}, times.tolist(), rng.normal(50, 1, samples).tolist())


def measure(series: int, rounds: int, tried: int, samples: int, directory: Path) -> list[Row]:
    now = time.time() // STEP * STEP
    with working("filling Prometheus"):
        backfill(directory, lines(tried, samples, now), longest_block="12h")
    spent: dict[bool, list[float]] = {False: [], True: []}
    with PrometheusServer(directory) as server:
        question = messages.Try({"url": server.url}, {}, "new", {"expr": "load"}, now - samples * STEP, now, 3600.0)
        each, found, running = 10, cycles(series, rounds), None
        for at, took in enumerate(found):
            replaying = at // each % 2 == 1
            if at % each:  # the first of a round has what the change has cost
                spent[replaying].append(took)
            if (at + 1) // each % 2 == 1:
                if running is None or not running.running:
                    if running is not None:
                        assert not running.failed, running.failed
                        running.end()
                    running = Replaying()
                    running.ask(question)
                    while running.shown is None and not running.failed:  # the first look is over after two seconds
                        time.sleep(0.02)
            elif running is not None:
                running.end()
                running = None
        if running is not None:
            running.end()
    quiet, beside = (statistics.median(spent[each]) for each in (False, True))
    say(f"  {len(spent[True])} cycles beside a replay, {len(spent[False])} without")
    return [
        Row(f"cycle of {series:,} series beside a replay", beside / quiet, "x", seconds(beside), seconds(quiet), "", "")
    ]


def main(arguments: list[str] | None = None) -> int:
    def sized(quick: bool, folder: Path) -> list[Row]:
        return measure(*((100, 60, 5, 600) if quick else (10_000, 200, 100, 3 * 1440)), folder)

    return command("beside", __doc__, sized, arguments)


if __name__ == "__main__":
    sys.exit(main())
