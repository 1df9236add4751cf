"""Fuzz all targets: `python -m tests.fuzz [--seconds 240] [--at-once 2] [TARGET …]`.

What was tried is kept in build/fuzz/TARGET and is the beginning of the next run; what broke a promise is in
build/fuzz/TARGET.found.
"""

import argparse
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from tests.fuzz.target import TARGETS

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "build" / "fuzz"
_RUNS: Final = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_MEMORY: Final = re.compile(r"stat::peak_rss_mb:\s*(\d+)")
_COVERED: Final = re.compile(r"\bcov: (\d+)")


class Outcome(NamedTuple):
    """What became of a target."""

    name: str
    runs: int
    covered: int
    mebibytes: int
    broken: bool
    text: str

    def row(self) -> str:
        kept = "broken" if self.broken else "kept"
        return f"| {self.name} | {self.runs:,} | {self.covered:,} | {self.mebibytes} | {kept} |"


def fuzz(name: str, seconds: int) -> Outcome:
    """Run one target for some seconds."""
    corpus, found = FOLDER / name, FOLDER / f"{name}.found"
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join([str(ROOT), str(ROOT / ".venv-fuzz"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "tests.fuzz.worker", name, str(corpus), str(found), str(seconds)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    text = done.stdout + done.stderr
    number = [[int(each) for each in pattern.findall(text)] or [0] for pattern in (_RUNS, _COVERED, _MEMORY)]
    return Outcome(name, number[0][-1], max(number[1]), number[2][-1], done.returncode != 0, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", default=TARGETS, metavar="TARGET", help=f"of {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=int, default=240, help="for each target (default: 240)")
    parser.add_argument("--at-once", type=int, default=os.cpu_count() or 1, help="targets (default: one a core)")
    asked = parser.parse_args()
    if unknown := sorted(set(asked.targets) - set(TARGETS)):
        parser.error(f"no such target: {', '.join(unknown)}")
    print("| target | inputs | branches | peak MiB | promise |\n|-|-|-|-|-|", flush=True)
    broken = []
    with ThreadPoolExecutor(asked.at_once) as pool:
        for outcome in pool.map(lambda name: fuzz(name, asked.seconds), asked.targets):
            print(outcome.row(), flush=True)
            broken += [outcome] if outcome.broken else []
    for outcome in broken:
        print(
            f"\n{outcome.name}: the input is in {FOLDER / outcome.name}.found\n{outcome.text[-4000:]}", file=sys.stderr
        )
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
