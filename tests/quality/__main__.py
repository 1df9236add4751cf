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
from typing import NamedTuple

from rich.progress import Progress

from detectors import DETECTORS
from tests.quality import cost, known_truth, labelled, table
from tests.quality.contestants import NAMES, alone_and_quiet

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "detectors.md"
TRUTH = "sensitivity"
COST = "cost"
SUITES = (*labelled.ALL, TRUTH, COST)
HEADS = (*labelled.HEADS, *known_truth.HEADS, *cost.HEADS)
SLOWEST = ("tsanomaly", "vae", "river", "ensemble", "lstm", "TSB-AD Sub-PCA", "auto", "autoencoder")
"""Begun first, so that none of them is left over at the end."""


class Task(NamedTuple):
    """One contestant on one suite: what it is called in the output, whose row, and what makes the cells."""

    title: str
    contestant: str
    work: Callable[[], dict[str, str]]


class Done(NamedTuple):
    """Cells of a row, or what went wrong; seconds of CPU."""

    cells: dict[str, str]
    seconds: float
    error: str = ""


def run(task: Task) -> Done:
    """Do a task in a process of its own. Never raises: what went wrong is the result."""
    began = time.process_time()
    try:
        cells, error = task.work(), ""
    except Exception as problem:
        cells, error = {}, "".join(traceback.format_exception_only(problem)).strip().splitlines()[-1]
    return Done(cells, time.process_time() - began, error)


def tasks(
    names: list[str], suites: list[str], data: Path, truth: known_truth.Truth | None, out: Path
) -> Iterator[Task]:
    """Yield what is to be run, the longest first; ranking is studied on the multivariate sets, where it is quoted."""
    for name in sorted(names, key=lambda name: SLOWEST.index(name) if name in SLOWEST else len(SLOWEST)):
        if truth is not None:
            yield Task(f"{name} on {TRUTH}", name, partial(known_truth.sensitivity, name, truth, out / name))
        if COST in suites and name in DETECTORS:
            yield Task(f"cost of {name}", name, partial(cost.cost, name))
        for suite in sorted(set(suites) - {TRUTH, COST}, key=lambda suite: suite not in {"nab", "smd"}):
            yield Task(f"{name} on {suite}", name, partial(labelled.incidents, name, data, suite))
            if name in labelled.RANKED.get(suite, ()):
                yield Task(f"{name} on {suite}, no hold", name, partial(labelled.ranking, name, data, suite))


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.quality", description=__doc__)
    parser.add_argument("data", type=Path, help="folder with evaluate.py, sensitivity.py and data/<set>/*.csv")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES), metavar="NAME", help="only these rows")
    parser.add_argument("--sets", nargs="+", choices=SUITES, default=list(SUITES), help="only these columns")
    parser.add_argument("--seed", type=int, help="of the series that are made; default: a fresh one")
    parser.add_argument("--seeds", type=int, default=4, help="series of each kind, size and history; default: 4")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at once; default: the cores")
    parser.add_argument("--page", type=Path, default=PAGE, help="page the table is written into")
    return parser.parse_args()


def main() -> None:
    chosen = options()
    began = time.monotonic()
    seed = secrets.randbelow(100_000) if chosen.seed is None else chosen.seed
    print(f"seed {seed}; the same series again: --seed {seed}")
    alone_and_quiet()
    cells: defaultdict[str, dict[str, str]] = defaultdict(dict)
    broken, cpu = False, 0.0
    with tempfile.TemporaryDirectory() as folder:
        try:
            truth = _prepare(chosen, Path(folder) / "truth", seed)
        except FileNotFoundError as error:
            sys.exit(f"make quality: {error}")
        todo = list(tasks(chosen.only, chosen.sets, chosen.data, truth, Path(folder) / "out"))
        context = multiprocessing.get_context("fork")  # what is read is read once
        with (
            ProcessPoolExecutor(chosen.jobs, context, max_tasks_per_child=None) as pool,
            Progress(transient=not sys.stdout.isatty()) as progress,
        ):
            under_way = progress.add_task("judging", total=len(todo))
            futures = {pool.submit(run, task): task for task in todo}
            for future in as_completed(futures):
                task, done = futures[future], future.result()
                cells[task.contestant] |= done.cells
                cpu, broken = cpu + done.seconds, broken or bool(done.error)
                progress.advance(under_way)
                what = f"{task.title}: {done.seconds:.0f} s" + f", {done.error}" * bool(done.error)
                progress.console.print(what, markup=False, highlight=False, soft_wrap=True)
    page = chosen.page.read_text(encoding="utf-8")
    new = {_title(name): each for name, each in cells.items()}
    rows = table.merged(table.read_table(page, "quality"), new, list(map(_title, NAMES)), HEADS)
    text = table.markdown(rows, HEADS)
    print(text)
    chosen.page.write_text(table.replace_table(page, "quality", text), encoding="utf-8")
    print(f"seed {seed}: {(time.monotonic() - began) / 60:.1f} minutes, {cpu / 60:.1f} of CPU")
    sys.exit(broken)


def _prepare(chosen: argparse.Namespace, folder: Path, seed: int) -> known_truth.Truth | None:
    """Read and make all series before the processes begin, which then share them."""
    for suite in set(chosen.sets) - {TRUTH, COST}:
        labelled.read(chosen.data, suite)
    if TRUTH not in chosen.sets:
        return None
    truth = known_truth.make(chosen.data, folder, seed, chosen.seeds)
    for days in known_truth.DAYS:
        known_truth.read(truth, days)
    return truth


def _title(name: str) -> str:
    return f"`{name}`" if name in DETECTORS else name


if __name__ == "__main__":
    main()
