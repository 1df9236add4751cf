"""Measures what is one incident and what else moved on fresh seeds, and writes the figures into docs/context.md."""

import argparse
import random
from pathlib import Path

import structlog

from tests.context import companions, rack, small
from tests.context.page import write

PAGE = Path("docs/context.md")
_MEDIAN, _TOP, _FIRST = "median rank of the true companions", "share of them in the top 10", "mean rank of the best one"


def ranked(seed: int) -> str:
    """Return the ranks of the true companions by method, as Markdown."""
    found = companions.ranks(seed)
    rows = [f"| seed {seed} | {_MEDIAN} | {_TOP} | {_FIRST} |", "|-|-|-|-|"]
    rows += [f"| {name} | {each.median:g} | {each.top:.0%} | {each.ten_first:.1f} |" for name, each in found.items()]
    return "\n".join(rows) + "\n"


def racks(seeds: list[int]) -> str:
    """Return what came of racks that fail, as Markdown."""
    rows = ["| seed | messages | says who moved first | series in it | of them of other racks |", "|-|-|-|-|-|"]
    for seed in seeds:
        world = rack.world(seed)
        each = rack.outcome(world)
        rows.append(f"| {seed} | {each.messages} | {'yes' if each.named else 'no'} | {each.series} | {each.foreign} |")
    return "\n".join(rows) + "\n"


def usually(seed: int) -> str:
    """Return how many first incidents of pairs without a common label were one, as Markdown."""
    head = f"seed {seed}, three weeks of small moves"
    rows = [f"| {head} | common moves a week | pairs that are one | strangers that are one |", "|-|-|-|-|"]
    for series, a_week in (500, 4.0), (5000, 4.0), (5000, 2.0), (5000, 1.0), (20_000, 4.0):
        found = small.joined(seed, series, 3, a_week)
        rows.append(f"| {series:,} series | {a_week:g} | {found.pairs} of {small.PAIRS} | {found.strangers} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="default: a fresh one")
    seed = parser.parse_args().seed or random.randrange(1000, 10_000)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    tables = {
        "companions": ranked(seed),
        "usually": usually(seed),
        "racks": racks([seed + number for number in range(10)]),
    }
    for name, figures in tables.items():
        write(PAGE, name, figures)
        print(figures)


if __name__ == "__main__":
    main()
