"""`python -m tests.bench.spread`: the training of 10,000 entities in one process, in four, and on a Dask cluster.

The default detector learns a day of samples a minute, one after the other, in eight shares as eight replicas would have
them. Timed is all of it, the start of the processes too; a cluster is running before. Every model must be the same
everywhere.
"""

import hashlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detectors import make
from exporter.parallel.spread import Backend, spread
from tests.bench.report import Row, command, say, seconds, working
from tests.support.batches import batch, noise, walk
from tests.support.training import dask_cluster

WINDOW = 60


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
    parts = (name.encode() + np.ascontiguousarray(state[name]).tobytes() for name in sorted(state))
    return hashlib.blake2b(b"".join(parts)).hexdigest(), time.process_time() - began


@dataclass(frozen=True)
class Run:
    """Seconds of wall time for all of it, CPU seconds of the tasks, the digest of each share's model."""

    wall: float
    cpu: float
    models: dict[int, str]

    def __str__(self) -> str:
        return f"{seconds(self.wall)}, CPU of the tasks {seconds(self.cpu)}"


def run(label: str, shares: list[Share], backend: Backend, scheduler: str = "") -> Run:
    """Train all shares with a backend."""
    with working(label, every=15):
        began = time.perf_counter()
        results = list(spread(train, shares, backend, scheduler or None, workers=4, progress=False))
        wall = time.perf_counter() - began
    for result in results:
        assert result.value is not None, result.error
    models = {result.task.number: result.value[0] for result in results if result.value}
    done = Run(wall, sum(result.value[1] for result in results if result.value), models)
    say(f"  {label}: {done}")
    return done


def measure(entities: int, samples: int, directory: Path) -> list[Row]:
    shares = [Share(number, entities // 8, samples) for number in range(8)]
    with dask_cluster(directory, workers=2) as cluster:
        run("waking the cluster", [Share(number, 10, 200) for number in range(4)], "dask", cluster.address)
        alone = run("one process", shares, "sequential")
        others = {
            "loky, 4 processes": run("loky", shares, "loky"),
            "Dask, 2 workers": run("Dask", shares, "dask", cluster.address),
        }
    return [
        Row(
            f"train {entities:,} entities: {name}",
            alone.wall / other.wall,
            "x",
            str(other),
            f"one process: {alone}",
            "same models",
            "" if other.models == alone.models else "the models differ",
        )
        for name, other in others.items()
    ]


def main(arguments: list[str] | None = None) -> int:
    def sized(quick: bool, folder: Path) -> list[Row]:
        return measure(*((80, 200) if quick else (10_000, 1440)), folder)

    return command("spread", __doc__, sized, arguments)


if __name__ == "__main__":
    sys.exit(main())
