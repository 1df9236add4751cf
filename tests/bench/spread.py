"""`python -m tests.bench.spread`: the training of 10,000 entities in one process, in four, and on a Dask cluster.

The default detector learns a day of samples a minute, one after the other, in eight shares as eight replicas would have
them. Timed is all of it, the start of the processes too; a cluster is running before. Every model must be the same
everywhere.
"""

import argparse
import hashlib
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detectors import make
from exporter.train.spread import Backend, spread
from tests.bench.report import ROOT, Row, finish, machine, say, seconds, working
from tests.support.batches import batch, noise, walk
from tests.support.training import dask_cluster

WINDOW = 60


@dataclass(frozen=True)
class Share:
    """What one replica's part of a job is made of."""

    number: int
    entities: int
    samples: int


def train(share: Share) -> str:
    """Return a digest of the fitted model."""
    history = batch(noise(share.entities, 1, share.samples, seed=share.number))
    detector = make("auto", WINDOW).fit(history.last(WINDOW))
    walk(detector, history, WINDOW + 1)
    state = detector.state()
    parts = (name.encode() + np.ascontiguousarray(state[name]).tobytes() for name in sorted(state))
    return hashlib.blake2b(b"".join(parts)).hexdigest()


def timed(label: str, shares: list[Share], backend: Backend, scheduler: str = "") -> tuple[float, dict[int, str]]:
    """Return how long all of it took, and the digest of each share's model."""
    with working(label, every=15):
        began = time.perf_counter()
        results = list(spread(train, shares, backend, scheduler or None, workers=4, progress=False))
        took = time.perf_counter() - began
    say(f"  {label}: {took:.1f} s, of which the tasks {sum(result.seconds for result in results):.1f} s")
    return took, {result.task.number: result.value or str(result.error) for result in results}


def measure(entities: int, samples: int, directory: Path) -> list[Row]:
    shares = [Share(number, entities // 8, samples) for number in range(8)]
    with dask_cluster(directory, workers=2) as cluster:
        timed("waking the cluster", [Share(number, 10, 200) for number in range(4)], "dask", cluster.address)
        alone, models = timed("one process", shares, "sequential")
        others = {
            "loky, 4 processes": timed("loky", shares, "loky"),
            "Dask, 2 workers": timed("Dask", shares, "dask", cluster.address),
        }
    return [
        Row(
            f"train {entities:,} entities: {name}",
            alone / took,
            "x",
            seconds(took),
            f"one process: {seconds(alone)}",
            "same models",
            "" if found == models else "the models differ",
        )
        for name, (took, found) in others.items()
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.spread", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: shows that it works, its figures mean nothing"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench-spread.json", help="the JSON file")
    options = parser.parse_args(arguments)
    for line in machine():
        say(line)
    plan = (80, 200) if options.quick else (10_000, 1440)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        rows = measure(*plan, Path(directory))
    return finish(rows, options.output)


if __name__ == "__main__":
    sys.exit(main())
