"""Progress, rows, the table and the JSON file."""

import argparse
import json
import os
import platform
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]
LIBRARIES = ("numpy", "scikit-learn", "scipy", "msgspec", "pandas", "river", "prometheus-client")
_BEGAN = time.monotonic()


@dataclass(frozen=True)
class Row:
    """One comparison. `wrong` says what is wrong with the result that was timed; a wrong row fails the run."""

    name: str
    value: float
    unit: str
    ours: str
    other: str
    quality: str
    wrong: str = ""

    def as_json(self) -> dict[str, object]:
        names = ("name", "value", "unit", "ours", "other", "quality")
        return {name: getattr(self, name) for name in names}


def say(text: str) -> None:
    print(f"[{time.monotonic() - _BEGAN:5.0f}s] {text}", flush=True)


@contextmanager
def working(label: str, every: float = 5.0) -> Iterator[None]:
    """Say `label` now and every few seconds until it is done."""
    done = threading.Event()

    def beat() -> None:
        began = time.monotonic()
        while not done.wait(every):
            say(f"  {label}: {time.monotonic() - began:.0f}s")

    say(label)
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def alternate(first: Callable[[], float], second: Callable[[], float], rounds: int) -> tuple[float, float]:
    """Measure A B, B A, A B, …; return the median of each."""
    found: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds):
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            found[which].append((first, second)[which]())
    return median(found[0]), median(found[1])


def seconds(value: float) -> str:
    """Return a time with three digits: `1.25 s`, `48.1 ms`, `820 ns`."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def said(*command: str) -> str:
    """Return what a command prints, to either output; "unknown" when it cannot be run."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout or done.stderr


def machine() -> list[str]:
    """Return what the figures were measured on."""
    cpu = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    prometheus = said("prometheus", "--version").split("(")[0].replace(", version", "").strip()
    return [
        f"Machine: {cpu[0] if cpu else platform.machine()}, {len(os.sched_getaffinity(0))} processors,"
        f" {memory:.0f} GiB, Linux {platform.release()}, load {os.getloadavg()[0]:.2f}",
        f"Versions: Python {platform.python_version()}, {prometheus}, "
        + ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
        + f", commit {said('git', 'rev-parse', '--short', 'HEAD').strip()}",
    ]


def number(value: float) -> str:
    """Return three digits: `0.0183`, `1.25`, `48,600`."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def show(head: Sequence[str], rows: Sequence[Sequence[str]], path: Path) -> None:
    """Print a table and the machine; write the same as Markdown to `path`."""
    drawn = Table(*head, box=box.SIMPLE_HEAD, pad_edge=False, show_lines=True)
    for row in rows:
        drawn.add_row(*row)
    about = machine()
    print()
    Console(width=max(shutil.get_terminal_size().columns, 140), highlight=False, markup=False).print(drawn)
    print("\n".join(about))
    lines = [head, ["---"] * len(head), *rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", *about]) + "\n")


def finish(rows: Sequence[Row], path: Path) -> int:
    """Print the table, write JSON and Markdown; return 1 when the quality of a row is not what it must be."""
    head = ("name", "value", "ours", "other", "quality")
    cells = [(r.name, f"{number(r.value)} {r.unit}", r.ours, r.other, r.quality) for r in rows]
    show(head, cells, path.with_suffix(".md"))
    path.write_text(json.dumps([row.as_json() for row in rows], indent=1, ensure_ascii=False) + "\n")
    say(f"written to {path} and {path.with_suffix('.md').name}")
    for row in rows:
        if row.wrong:
            print(f"{row.name}: the quality check failed: {row.wrong}")
    return int(any(row.wrong for row in rows))


def command(
    name: str, about: str | None, measure: Callable[[bool, Path], Sequence[Row]], arguments: list[str] | None
) -> int:
    """Run a benchmark from the command line; `measure` gets whether it shall be quick, and an empty folder."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.bench.{name}", description=about)
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: shows that it works, its figures mean nothing"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "build" / f"bench-{name}.json", help="the JSON file")
    options = parser.parse_args(arguments)
    for line in machine():
        say(line)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        rows = measure(options.quick, Path(directory))
    return finish(rows, options.output)
