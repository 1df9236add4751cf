"""`python -m tests.bench.spread`: training and backtest of 10,000 entities in one process, in more, on a Dask cluster.

The default detector learns a day of samples a minute, one after the other, in eight shares as eight replicas would have
them. Timed is all of it, the start of the processes too; a cluster is running before. Every model must be the same
everywhere. Then the same samples are backtested in eight parts, as by `backtest --shards 8`: the samples go there, and
all verdicts come back, which must be the same.
"""

import hashlib
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detectors import make
from exporter.backtest.history import VerdictHistory
from exporter.backtest.read_csv import Series
from exporter.backtest.resample import Group
from exporter.backtest.run_files import GroupTask, group_task
from exporter.config.sections.job import JobConfig
from exporter.parallel.spread import Backend, spread
from tests.bench.report import Row, command, say, seconds, working
from tests.support.batches import batch, noise, walk
from tests.support.training import dask_cluster

WINDOW, WORKERS = 60, 2


@dataclass(frozen=True)
class Share:
    """What one replica's part of a job is made of."""

    number: int
    entities: int
    samples: int


def train(share: Share) -> tuple[str, float]:
    """Return a digest of the fitted model, and the CPU seconds it took."""
    began = time.process_time()
    history = batch(noise(share.entities, 1, share.samples, seed=share.number))
    detector = make("auto", WINDOW).fit(history.last(WINDOW))
    walk(detector, history, WINDOW + 1)
    state = detector.state()
    return digest(state[name] for name in sorted(state)), time.process_time() - began


def replay(task: GroupTask) -> tuple[VerdictHistory, float]:
    """Return the verdicts of a part, as a backtest needs them, and the CPU seconds they took."""
    began = time.process_time()
    verdicts, _ = group_task(task)
    return verdicts, time.process_time() - began


def files(share: Share) -> GroupTask:
    """Return the replay of a part of the files."""
    values, times = noise(share.entities, 1, share.samples, seed=share.number), 60.0 * np.arange(share.samples)
    series = [Series(f"{share.number}-{row}", [], times, ("value",), each, None) for row, each in enumerate(values)]
    job = JobConfig.model_validate({"expr": "value", "step": "60s", "window": "1h", "detector": "auto"})
    group = Group(series, 60.0, 0.0, values, [np.arange(share.samples)] * share.entities)
    return GroupTask("backtest", job, group, 1, hold=True, keep_values=False)


def digest(arrays: Iterable[np.ndarray]) -> str:
    found = hashlib.blake2b()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def of_verdicts(verdicts: VerdictHistory) -> str:
    names = ("flag", "alert", "score", "severity", "expected", "lower", "upper", "deviation")
    return verdicts.keys[0][0][1] + digest(getattr(verdicts, name) for name in names)


@dataclass(frozen=True)
class Run:
    """Seconds of wall time for all of it, CPU seconds of the tasks, a digest of each result."""

    wall: float
    cpu: float
    results: list[str]

    def __str__(self) -> str:
        return f"{seconds(self.wall)}, CPU of the tasks {seconds(self.cpu)}"


def run(
    label: str,
    function: Callable[[Any], tuple[Any, float]],
    tasks: Sequence[object],
    told: Callable[[Any], str],
    backend: Backend,
    scheduler: str = "",
) -> Run:
    """Do all tasks with a backend."""
    with working(label, every=15):
        began = time.perf_counter()
        results = list(spread(function, tasks, backend, scheduler or None, workers=WORKERS, progress=False))
        wall = time.perf_counter() - began
    values = []
    for result in results:
        assert result.value is not None, result.error
        values.append(result.value)
    done = Run(wall, sum(cpu for _, cpu in values), sorted(told(value) for value, _ in values))
    say(f"  {label}: {done}")
    return done


def measure(entities: int, samples: int, directory: Path) -> list[Row]:
    shares = [Share(number, entities // 8, samples) for number in range(8)]
    kinds: list[tuple[str, str, Callable[[Any], tuple[Any, float]], Sequence[object], Callable[[Any], str]]] = [
        ("train", "models", train, shares, str),
        ("backtest", "verdicts", replay, [files(share) for share in shares], of_verdicts),
    ]
    rows = []
    with dask_cluster(directory, workers=WORKERS) as cluster:
        warm = [Share(number, 10, 200) for number in range(4)]
        run("waking the cluster", train, warm, str, "dask", cluster.address)
        for name, what, function, tasks, told in kinds:
            alone = run(f"{name}, one process", function, tasks, told, "sequential")
            others = {
                f"loky, {WORKERS} processes": run(f"{name}, loky", function, tasks, told, "loky"),
                f"Dask, {WORKERS} workers": run(f"{name}, Dask", function, tasks, told, "dask", cluster.address),
            }
            rows += [
                Row(
                    f"{name} {entities:,} entities: {where}",
                    alone.wall / other.wall,
                    "x",
                    str(other),
                    f"one process: {alone}",
                    f"same {what}",
                    "" if other.results == alone.results else f"the {what} differ",
                )
                for where, other in others.items()
            ]
    return rows


def main(arguments: list[str] | None = None) -> int:
    def sized(quick: bool, folder: Path) -> list[Row]:
        return measure(*((80, 200) if quick else (10_000, 1440)), folder)

    return command("spread", __doc__, sized, arguments)


if __name__ == "__main__":
    sys.exit(main())
