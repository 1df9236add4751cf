"""Runs every detector on every labelled set and writes the comparison into docs/detectors.md."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

from rich.progress import Progress

from detectors import DETECTORS
from tests.quality.table import Result, replace_table, table

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "detectors.md"
TRAINED = frozenset({"isolation_forest", "autoencoder", "vae", "lstm"})
"""Detectors that are trained before they judge: on the rows that the figures leave out."""
SPECS = {"ensemble": "{ensemble: {detectors: [robust, seasonal, isolation_forest], combine: vote}}"}
"""What stands for a detector that its name alone says too little of."""
SLOW = ("vae", "ensemble", "lstm", "river", "auto", "autoencoder")
"""Begun first, so that none of them is left over at the end."""
RANKED = {"asd": frozenset(DETECTORS), "smd": frozenset({"auto", "autoencoder", "isolation_forest"})}
"""Who is ranked without hold on which set: on the long one only a few of those that are meant for many channels."""
LONGEST = 900.0
"""Seconds after which one detector on one set is given up."""


class Task(NamedTuple):
    detector: str
    data: Path
    hold: bool


def run(task: Task, evaluator: Path) -> Result:
    """Judge one set with one detector and evaluate it. Never raises: what went wrong is the result."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scores:
        spec = SPECS.get(task.detector, task.detector)
        backtest = [sys.executable, "-m", "exporter", "backtest", "--data", task.data, "--detector", spec]
        backtest += ["--out", scores, "--json"]
        backtest += ["--history", "labels"] * (task.detector in TRAINED) + ["--no-hold"] * (not task.hold)
        figures = Path(scores) / "evaluated" / "figures.json"
        evaluate = [sys.executable, evaluator, task.data, scores, "--no-floors", "--json", figures]
        try:
            speed = json.loads(_output(backtest))["overall"]["points_per_second"]
            figures.parent.mkdir()
            _output(evaluate)
            found: dict[str, Any] = json.loads(figures.read_text())
        except (subprocess.SubprocessError, OSError, ValueError) as error:
            said = getattr(error, "stderr", None) or str(error)
            return Result(*_name(task), error=said.strip().splitlines()[-1], seconds=time.monotonic() - began)
    return Result(*_name(task), figures=found, microseconds=1e6 / speed, seconds=time.monotonic() - began)


def _name(task: Task) -> tuple[str, str, bool]:
    return task.detector, task.data.name, task.hold


def _output(command: list[Any]) -> str:
    alone = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # as many runs as cores are under way
    words = [str(word) for word in command]
    return subprocess.run(
        words, capture_output=True, text=True, check=True, timeout=LONGEST, env=alone, cwd=ROOT
    ).stdout


def tasks(names: list[str], sets: list[Path]) -> Iterator[Task]:
    """Yield what is to be run; ranking is only studied on the multivariate sets, where it is quoted."""
    for name in sorted(names, key=lambda name: name not in SLOW):
        for data in sorted(sets, key=lambda path: path.name not in {"nab", "smd"}):  # the longest first
            yield Task(name, data, hold=True)
            if name in RANKED.get(data.name, ()):
                yield Task(name, data, hold=False)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.quality", description=__doc__)
    parser.add_argument("data", type=Path, help="folder with evaluate.py and data/<set>/*.csv")
    parser.add_argument("--detectors", nargs="+", default=list(DETECTORS), help="only these")
    parser.add_argument("--sets", nargs="+", help="only these")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="runs at once; default: the cores")
    parser.add_argument("--page", type=Path, default=PAGE, help="page the table is written into")
    options = parser.parse_args()
    evaluator = options.data / "evaluate.py"
    sets = [path for path in sorted((options.data / "data").glob("*")) if path.is_dir()]
    sets = [path for path in sets if options.sets is None or path.name in options.sets]
    if not evaluator.is_file() or not sets:
        sys.exit(
            f"no labelled series: {options.data} has no evaluate.py or no data/<set>; name another: make quality DATA=…"
        )
    todo = list(tasks(options.detectors, sets))
    results = []
    with ThreadPoolExecutor(options.jobs) as pool, Progress(transient=not sys.stdout.isatty()) as progress:
        under_way = progress.add_task("judging", total=len(todo))
        for done in as_completed([pool.submit(run, task, evaluator) for task in todo]):
            result = done.result()
            results.append(result)
            progress.advance(under_way)
            what = f"{result.detector} on {result.data}" + ", no hold" * (not result.hold)
            progress.console.print(f"{what}: {result.seconds:.0f} s" + f", {result.error}" * bool(result.error))
    results.sort(key=lambda result: options.detectors.index(result.detector))
    text = table(results)
    print(text)
    options.page.write_text(replace_table(options.page.read_text(encoding="utf-8"), text), encoding="utf-8")
    sys.exit(any(result.error for result in results))


if __name__ == "__main__":
    main()
