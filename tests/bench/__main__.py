"""`python -m tests.bench`: fill a Prometheus, measure, print one table, write it as JSON."""

import argparse
import os
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")  # before numpy

from deploy.demo.servers import PrometheusServer, ServerError, backfill
from tests.bench import cold, cycles, pieces, web_pages
from tests.bench.history import STEP, lines
from tests.bench.report import ROOT, Row, finish, machine, say, working

HOUR, AHEAD = 60, 15
"""Minutes before the first judged one; minutes after now, for the exporter that runs on the clock."""

QUICK = cycles.Plan(
    small=60, medium=60, large=60, rounds=3, checked=3, scripted=2, starts=1, service=1.0, least_agreement=-1.0
)


def measure(plan: cycles.Plan, directory: Path) -> list[Row]:
    """Run all comparisons."""
    now = time.time() // STEP * STEP
    behind = HOUR + cycles.WARM_UP + plan.rounds + 5
    times = [now + minute * STEP for minute in range(-behind, AHEAD)]
    plan = replace(plan, first=times[HOUR])
    sizes = {cycles.metric(size): size for size in plan.sizes}
    with working(f"filling Prometheus: {sum(sizes.values()):,} series of {len(times)} samples"):
        backfill(directory, lines(sizes, times), longest_block="12h")
    with PrometheusServer(directory, flags=["--query.max-samples=200000000"]) as server:
        rows = cold.processes(server, plan, directory)
        steady = [found for size in dict.fromkeys(plan.sizes) for found in cycles.steady(server, plan, size)]
        rows += cycles.steady_rows(steady, plan)
        rows += [cycles.script(server, plan), cycles.incremental(server, plan), pieces.decoding(server, plan)]
    rows += [pieces.page(plan), pieces.half_space_trees(plan), pieces.isolation(plan)]
    return [*rows, web_pages.moves(plan), web_pages.first_page(plan)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: shows that it works, its figures mean nothing"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench.json", help="the JSON file")
    options = parser.parse_args(arguments)
    plan = QUICK if options.quick else cycles.Plan()
    warnings.simplefilter("ignore")
    for line in machine():
        say(line)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        try:
            rows = measure(plan, Path(directory))
        except ServerError as error:
            raise SystemExit(str(error)) from None
    return finish(rows, options.output)


if __name__ == "__main__":
    sys.exit(main())
