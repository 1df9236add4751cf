"""Runs every detector and rival on labelled sets and on series whose truth is known; writes docs/detectors.md."""

import argparse
import multiprocessing
import os
import secrets
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rich.progress import Progress

from detectors import DETECTORS
from tests.quality import cost, known_truth, labelled, whole
from tests.quality.contestants import NAMES, alone_and_quiet
from tests.quality.page import Page

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "detectors.md"
TRUTH, COST, KINDS = "sensitivity", "cost", "kinds"
WHOLE = "whole"
"""Owner of what is no row of the comparison."""
SUITES = (*labelled.ALL, TRUTH, COST, KINDS)
SLOWEST = ("auto", "tsanomaly", "TSB-AD Sub-PCA", "ensemble", "river", "lstm", "vae", "autoencoder", "half_space_trees")
"""Begun first, so that none of them is left over at the end."""


class Task(NamedTuple):
    """A piece of work in a process of its own: what it is called in the output, whose it is, and what does it."""

    title: str
    owner: Any
    work: Callable[[], Any]


class Done(NamedTuple):
    """What came of a task, or what went wrong; seconds of CPU."""

    result: Any
    seconds: float
    error: str = ""


def run(task: Task) -> Done:
    """Do a task. Never raises: what went wrong is the result."""
    began = _cpu()
    try:
        result, error = task.work(), ""
    except Exception as problem:
        result, error = None, "".join(traceback.format_exception_only(problem)).strip().splitlines()[-1]
    return Done(result, _cpu() - began, error)


def _cpu() -> float:
    """Return the CPU seconds of this process and of those that it waited for."""
    return sum(os.times()[:4])


def tasks(
    names: list[str], suites: list[str], data: Path, truth: known_truth.Truth | None, out: Path
) -> Iterator[Task]:
    """Yield what makes cells of the comparison, the longest first; ranking is studied on the multivariate sets."""
    for name in sorted(names, key=lambda name: SLOWEST.index(name) if name in SLOWEST else len(SLOWEST)):
        if truth is not None:
            yield Task(f"{name} on {TRUTH}", name, partial(known_truth.sensitivity, name, truth, out / name))
        for suite in sorted(set(suites) & set(labelled.ALL), key=lambda suite: suite not in {"nab", "smd"}):
            if suite not in labelled.TOO_SLOW.get(name, ()):
                yield Task(f"{name} on {suite}", name, partial(labelled.judged, name, data, suite))
        if COST in suites and name in DETECTORS:
            yield Task(f"cost of {name}", name, partial(cost.cost, name))


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.quality", description=__doc__)
    parser.add_argument("data", type=Path, help="folder with evaluate.py, sensitivity.py and data/<set>/*.csv")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES), metavar="NAME", help="only these rows")
    parser.add_argument("--sets", nargs="+", choices=SUITES, default=list(SUITES), help="only these parts")
    parser.add_argument("--seed", type=int, help="of the series that are made; default: a fresh one")
    parser.add_argument("--seeds", type=int, default=4, help="series of each kind, size and history; default: 4")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at once; default: the cores")
    parser.add_argument("--page", type=Path, default=PAGE, help="page the tables are written into")
    return parser.parse_args()


def main() -> None:
    chosen = options()
    began = time.monotonic()
    seed = secrets.randbelow(100_000) if chosen.seed is None else chosen.seed
    print(f"seed {seed}; the same series again: --seed {seed}")
    alone_and_quiet()
    page = Page(chosen.page)
    broken, cpu = False, 0.0
    with tempfile.TemporaryDirectory() as folder:
        try:
            truth = _prepare(chosen, Path(folder) / "truth", seed)
        except FileNotFoundError as error:
            sys.exit(f"make quality: {error}")
        todo = list(tasks(chosen.only, chosen.sets, chosen.data, truth, Path(folder) / "out"))
        if KINDS in chosen.sets and "auto" in chosen.only:  # the longest of all: none of them is left over at the end
            todo = [Task(title, WHOLE, work) for title, work in whole.tasks(seed)] + todo
        cells: defaultdict[str, dict[str, str]] = defaultdict(dict)
        found: dict[Any, Any] = {}
        with (
            ProcessPoolExecutor(chosen.jobs, multiprocessing.get_context("fork")) as pool,  # what is read is read once
            Progress(transient=not sys.stdout.isatty()) as progress,
        ):
            under_way = progress.add_task("judging", total=len(todo))
            futures = {pool.submit(run, task): task for task in todo}
            for future in as_completed(futures):
                task, done = futures[future], future.result()
                cpu, broken = cpu + done.seconds, broken or bool(done.error)
                if done.result is not None and task.owner in NAMES:
                    cells[task.owner] |= done.result
                    page.write_comparison(cells)  # an interrupted run keeps what it has
                elif done.result is not None:
                    found |= done.result
                progress.advance(under_way)
                what = f"{task.title}: {done.seconds:.0f} s" + f", {done.error}" * bool(done.error)
                progress.console.print(what, markup=False, highlight=False, soft_wrap=True)
    if found:
        page.write_kinds(found, seed)
    print("\n\n".join(page.written))
    print(f"seed {seed}: {(time.monotonic() - began) / 60:.1f} minutes, {cpu / 60:.1f} of CPU")
    sys.exit(broken)


def _prepare(chosen: argparse.Namespace, folder: Path, seed: int) -> known_truth.Truth | None:
    """Read and make all series before the processes begin, which then share them."""
    for suite in set(chosen.sets) & set(labelled.ALL):
        labelled.read(chosen.data, suite)
    if TRUTH not in chosen.sets:
        return None
    truth = known_truth.make(chosen.data, folder, seed, chosen.seeds)
    for days in known_truth.DAYS:
        known_truth.read(truth, days)
    return truth


if __name__ == "__main__":
    main()
