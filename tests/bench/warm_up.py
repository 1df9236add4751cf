"""`python -m tests.bench.warm_up`: a job's first start with `history`, read from a real Prometheus and judged.

The server holds one sample of each series; their past is what an expression makes of it and the time, so that two weeks
of 10,000 series need no 200 million stored samples. It works on that about as on a rate. First a part of the history is
replayed by waiting for every answer, in the blocks of a cycle, and by reading ahead, in long ones: the state must be
the same to the bit. Then, with `--minutes`, a history of that length.
"""

import argparse
import os
import sys
import tempfile
import time
import urllib.request
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")  # before numpy

import numpy as np

from deploy.demo.servers import PrometheusServer, backfill
from exporter.config.sections.root import Config
from exporter.pipeline import cycle
from exporter.pipeline.cycle import evaluate
from exporter.pipeline.job import Job
from exporter.pipeline.job_settings import JobSettings
from exporter.source import chunks
from exporter.source.pace import Pace
from exporter.source.prometheus import Prometheus
from tests.bench.history import STEP, selector
from tests.bench.report import ROOT, Row, finish, machine, say, seconds, working
from tests.bench.usage import cpu_seconds, memory

DAYS = 15
TWO_WEEKS = 20_160
QUERY = "warm % scalar(vector(1 + ((time() / 60 % 100003) ^ 2 * 0.000618033) % 1))"
"""Noise: what is left of a large number, divided by one that differs every minute. One operation for each sample, as in
a rate; the squares of the minutes, times an irrational number, are spread evenly."""


@dataclass(frozen=True)
class Run:
    """What a warm-up took: wall and CPU seconds of ours, those of Prometheus, its seconds in queries, the state."""

    columns: int
    wall: float
    own: float
    server: float
    asked: float
    state: dict[str, np.ndarray]

    @property
    def two_weeks(self) -> float:
        """CPU seconds of ours and Prometheus' for two weeks, at this pace."""
        return (self.own + self.server) / self.columns * TWO_WEEKS

    def __str__(self) -> str:
        return (
            f"{seconds(self.wall)} for {self.columns:,} samples of each: own CPU {seconds(self.own)}, Prometheus "
            f"{seconds(self.server)}, queries under way for {self.asked / self.wall:.0%} of the time"
        )


def measure(server: PrometheusServer, label: str, columns: int, share: float, until: float, before: bool) -> Run:
    """Replay a history that ends at `until` (Unix seconds)."""
    job = {"expr": QUERY, "step": "60s", "window": "1h", "history": f"{columns}m", "rate": False, "max_series": 200_000}
    source = {"url": server.url, "deadline": "120s", "history_share": share}
    config = Config.model_validate(
        {"prometheus": source, "limits": {"series": 200_000, "samples": 200_000_000}, "jobs": {"warm": job}}
    )
    pace = None if before else Pace(share)
    with closing(Prometheus(config.prometheus, config.limits, pace)) as prometheus, working(label, every=30):
        warming = Job(JobSettings("warm", config.jobs["warm"]), prometheus)
        began, own, theirs, asked = time.perf_counter(), time.process_time(), cpu_seconds(server.pid), _asked(server)
        said = began

        def told() -> bool:
            nonlocal said
            if time.perf_counter() - said > 60:
                said = time.perf_counter()
                done, ours = warming.backfill_progress(until), time.process_time() - own
                say(f"  {done:.1%}: own CPU {seconds(ours)}, Prometheus {seconds(cpu_seconds(server.pid) - theirs)}")
            return True

        blocks = patch.object(cycle, "long_blocks", (lambda _: nullcontext()) if before else cycle.long_blocks)
        with blocks, patch.object(chunks, "PAST", 10**9 if before else chunks.PAST):
            for _ in evaluate(warming, until + STEP / 2, should_continue=told):
                pass
        run = Run(
            columns,
            time.perf_counter() - began,
            time.process_time() - own,
            cpu_seconds(server.pid) - theirs,
            _asked(server) - asked,
            warming.state(),
        )
    say(f"  {label}: {run}")
    return run


def _asked(server: PrometheusServer) -> float:
    """Return the seconds for which Prometheus has worked on range queries, by its own count."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=30) as answer:
        page = answer.read().decode()
    wanted = 'prometheus_http_request_duration_seconds_sum{handler="/api/v1/query_range"}'
    return sum(float(line.rpartition(" ")[2]) for line in page.splitlines() if line.startswith(wanted))


def rows(series: int, part: int, minutes: int, share: float, directory: Path) -> list[Row]:
    """Measure both ways on a part of the history, then all of it."""
    until = time.time() // STEP * STEP - 600
    with working(f"filling Prometheus: {series:,} series"):
        first = until - DAYS * 86_400
        backfill(
            directory,
            (f"{selector('warm', number)} {100_000 + 7.13 * number:.2f} {first:.0f}" for number in range(series)),
        )
    flags = ["--query.max-samples=200000000", f"--query.lookback-delta={DAYS + 2}d"]
    with PrometheusServer(directory, flags=flags) as server:
        before = measure(server, "one after the other", part, 1.0, until, before=True)
        now = measure(server, "reading ahead, in long blocks", part, share, until, before=False)
        same = all(
            np.array_equal(before.state[name], now.state[name], equal_nan=before.state[name].dtype.kind == "f")
            for name in before.state
        )
        projected = now.wall / now.columns * TWO_WEEKS
        found = [
            Row(
                f"warm_up_{series}",
                before.wall / now.wall,
                "x",
                f"{now}; two weeks at this pace {projected / 60:.1f} min, {now.two_weeks:.0f} CPU seconds of both",
                f"{before}; two weeks at this pace {before.wall / before.columns * TWO_WEEKS / 60:.1f} min, "
                f"{before.two_weeks:.0f} CPU seconds of both",
                "same state to the bit",
                "" if same else "the states differ",
            )
        ]
        if minutes:
            whole = measure(server, f"a history of {minutes:,} minutes", minutes, share, until, before=False)
            found.append(
                Row(
                    f"warm_up_{series}_whole",
                    whole.wall / 60,
                    "min",
                    f"{whole}; at most {memory(os.getpid())['peak']:.0f} MiB",
                    f"goal 5 min for {TWO_WEEKS:,} samples of 10,000 series",
                    "every sample judged",
                )
            )
        return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.warm_up", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: its figures mean nothing")
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--part", type=int, default=720, help="samples of each series that both ways replay")
    parser.add_argument("--minutes", type=int, default=0, help=f"the whole history, {TWO_WEEKS} for two weeks")
    parser.add_argument("--share", type=float, default=0.5, help="prometheus.history_share")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench-warm-up.json", help="the JSON file")
    options = parser.parse_args(arguments)
    if options.quick:
        options.series, options.part, options.minutes = 1500, 130, 150
    for line in machine():
        say(line)
    with tempfile.TemporaryDirectory(prefix="bench-warm-up-") as directory:
        found = rows(options.series, options.part, options.minutes, options.share, Path(directory))
    return finish(found, options.output)


if __name__ == "__main__":
    sys.exit(main())
