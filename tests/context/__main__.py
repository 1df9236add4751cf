"""Measures deploys, peers and forecasts on fresh seeds, and writes the figures into docs/context.md: `make context`."""

import argparse
import random
from dataclasses import fields
from pathlib import Path

import structlog

from tests.context import filling, peers
from tests.context.fills import fills
from tests.context.page import write
from tests.context.rollouts import world
from tests.context.run import Figures, figures, incidents

PAGE = Path("docs/context.md")
_TOLD = {
    "good_alerts": "alerts after 50 good rollouts (wanted: 0)",
    "good_opened": "incidents that opened within half an hour of them",
    "good_named": "of these, incidents that name the rollout",
    "bad_alerted": "of 20 bad rollouts: alerts within 10 minutes (wanted: at least 18)",
    "bad_named": "of these, alerts that name the rollout",
    "later_alerted": "of 20 faults two hours and more after a good rollout: alerts",
    "later_blamed": "of these, incidents that blame the rollout (wanted: 0)",
    "wrong": "incidents that name a deploy of another service (wanted: 0)",
}


def table(columns: dict[str, Figures]) -> str:
    """Return the figures as Markdown."""
    rows = [f"| | {' | '.join(columns)} |", f"|-|{'-|' * len(columns)}"]
    for each in fields(Figures):
        values = " | ".join(str(getattr(found, each.name)) for found in columns.values())
        rows.append(f"| {_TOLD[each.name]} | {values} |")
    return "\n".join(rows) + "\n"


def limits_table(found: dict[int, filling.Figures]) -> str:
    """Return the figures of forecasts as Markdown."""
    told = [(f"{name}, seed {seed}", each) for seed, of in found.items() for name, each in of.alerts.items()]
    told.sort(key=lambda each: not each[0].startswith("`forecast`"))
    columns = {
        "of 100 that fill: alert before": lambda each: each.before,
        "median lead (h)": lambda each: f"{each.lead:.0f}",
        "false alerts": lambda each: each.false,
        "in so many of 200": lambda each: each.wolf,
    }
    rows = [f"| rule | {' | '.join(columns)} |", f"|-|{'-|' * len(columns)}"]
    rows += [f"| {name} | {' | '.join(str(of(each)) for of in columns.values())} |" for name, each in told]
    for seed, each in found.items():
        rows.append(
            f"\nSeed {seed}: the interval of 90 % held what came in {each.covered:.1%} of {each.stated:,} forecasts "
            f"({each.too_early:.1%} came earlier, {each.too_late:.1%} later or never). By kind: "
            + ", ".join(
                f"{kind.replace('_', ' ')} {held:.0%} of {count}" for kind, (count, held) in each.by_kind.items()
            )
            + "."
        )
    return "\n".join(rows) + "\n"


def main() -> None:
    """Run the seeds, and one of them without knowing of deploys."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=None, help="default: two fresh ones")
    parser.add_argument("--only", choices=["deploys", "limits"], help="default: both")
    options = parser.parse_args()
    seeds = options.seeds or [random.randrange(1000, 10_000) for _ in range(2)]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    if options.only != "deploys":
        limits = limits_table({seed: filling.figures(fills(seed)) for seed in seeds})
        write(PAGE, "limits", limits)
        print(limits)
    if options.only == "limits":
        return
    columns = {f"seed {seed}": figures(world(seed), incidents(world(seed), knows=True)) for seed in seeds}
    first = world(seeds[0])
    columns[f"seed {seeds[0]}, without knowing of deploys"] = figures(first, incidents(first, knows=False))
    write(PAGE, "figures", table(columns))
    print(table(columns))
    of_peers = peers.table(seeds[0], groups=40, days=14)
    write(PAGE, "peers", of_peers)
    print(of_peers)


if __name__ == "__main__":
    main()
