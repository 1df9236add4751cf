"""Measures what is known of deploys and peers on fresh seeds and writes docs/context.md: `make context`."""

import argparse
import random
from dataclasses import fields
from pathlib import Path

import structlog

from tests.context import peers
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


def main() -> None:
    """Run the seeds, and one of them without knowing of deploys."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=None, help="default: two fresh ones")
    asked = parser.parse_args().seeds
    seeds = asked or [random.randrange(1000, 10_000) for _ in range(2)]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
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
