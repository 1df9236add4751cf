"""How severe incidents become that open by chance: `python -m tests.fleet.severity --step 60 --seed 80` (5 minutes).

Clean series of many kinds are judged by `auto`; the quantiles are what `exporter.pipeline.chance` has as constants.
"""

import argparse
import sys

import numpy as np

from tests.fleet.mixed import MixedFleet
from tests.fleet.run import make, run

SHARES = (0.9, 0.99, 0.999)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.fleet.severity")
    parser.add_argument("--step", type=float, default=60.0, help="seconds between samples")
    parser.add_argument("--series", type=int, default=300, help="series; they share one budget of an alert a week")
    parser.add_argument("--weeks", type=float, default=6.0, help="weeks that count, after two to learn from")
    parser.add_argument("--seed", type=int, default=80)
    given = parser.parse_args()
    fleet = MixedFleet(
        entities=given.series, group=30, step=given.step, weeks=given.weeks, incidents=0, failing_groups=0,
        seed=given.seed,
    )  # fmt: skip
    opened = run(make(fleet.step), fleet.keys, fleet.values()).opened()
    counted = opened.begin >= fleet.measured_from
    severity = opened.severity[counted]
    figures = ", ".join(
        f"{1 - share:.3g} reach {at:.1f}" for share, at in zip(SHARES, np.quantile(severity, SHARES), strict=True)
    )
    alerts = int((opened.alert[counted] >= 0).sum())
    sys.stdout.write(
        f"{len(severity)} incidents in {given.series * given.weeks:g} series-weeks at {given.step:g} s: {figures}; "
        f"{alerts / given.weeks:.1f} alerts a week\n"
    )


if __name__ == "__main__":
    main()
