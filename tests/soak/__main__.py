"""A day of operation: `python -m tests.soak [--cycles 2880]`; or clients and reloads: `python -m tests.soak load`."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.soak.day import Life, day
from tests.soak.usage import MIB


def table(lives: list[Life]) -> str:
    """Return what was seen as a table."""
    rows = ["| | " + " | ".join(life.name for life in lives) + " |", "|-|" + "-|" * len(lives)]

    def row(what: str, *cells: object) -> None:
        rows.append(f"| {what} | " + " | ".join(map(str, cells)) + " |")

    def span(life: Life, name: str) -> str:
        found = [getattr(each, name) for each in life.usage[len(life.usage) // 4 :]]
        return f"{min(found)} to {max(found)}"

    row(
        "memory, first and last (MiB)",
        *(f"{a.usage[0].resident / MIB:.0f}, {a.usage[-1].resident / MIB:.0f}" for a in lives),
    )
    row("growth (MiB in 1,000 cycles)", *(f"{a.growth:.2f}" if not a.kills else "-" for a in lives))
    row("descriptors", *(span(a, "descriptors") for a in lives))
    row("threads", *(span(a, "threads") for a in lives))
    row("reloads taken, refused", *(f"{a.reloads}, {a.refused}" for a in lives))
    row("kills; slowest start (s)", *(f"{a.kills}; {a.slowest_start:.1f}" if a.kills else "-" for a in lives))
    row("audit rows", *(f"{a.rows:,}" for a in lives))
    row("torn, missing, doubled", *(f"{a.torn}, {a.missing}, {a.doubled}" for a in lives))
    row("cycles skipped", *(a.skipped for a in lives))
    row("else", *("; ".join(a.wrong) or "nothing" for a in lives))
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.soak")
    parser.add_argument("--cycles", type=int, default=2880, help="steps (default: 2,880, a day of every 30 s)")
    parser.add_argument("--series", type=int, default=200, help="at once (default: 200)")
    parser.add_argument("--churn", type=float, default=0.05, help="share replaced with every step (default: 0.05)")
    parser.add_argument("--step", type=float, default=0.5, help="seconds (default: 0.5)")
    parser.add_argument("--reload-every", type=int, default=50, help="steps (default: 50)")
    parser.add_argument("--kill-every", type=int, default=200, help="steps (default: 200)")
    asked = parser.parse_args()
    lives: list[Life] = []
    with tempfile.TemporaryDirectory(prefix="soak") as folder:
        settings = (asked.cycles, asked.series, asked.churn, asked.step, asked.reload_every, asked.kill_every)
        for told in day(Path(folder), *settings):
            if isinstance(told, Life):
                lives.append(told)
            else:
                print(told, file=sys.stderr, flush=True)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"{asked.cycles} steps of {asked.step:g} s, {asked.series} series; load of the machine at the end: {load}")
    print(table(lives))
    through = lives[0]
    settled = asked.cycles < 1000 or through.growth < 1.0
    sys.exit(any(life.wrong or life.torn or life.missing for life in lives) or bool(through.doubled) or not settled)


if __name__ == "__main__":
    main()
