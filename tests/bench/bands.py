"""Bands around a level as PromQL recording rules: what the exporter is compared with.

Written for this comparison, after the steps that frameworks of such rules take.
"""

from pathlib import Path

import yaml

METRIC = "level"
SPAN = "26h"
PERIOD = 15
"""Seconds between two evaluations of the rules: an evaluation costs the same whenever it comes."""


def widest(choose: str, band: str, margin: str) -> str:
    """Return the PromQL of a band that is never narrower than a margin."""
    kinds = (f'label_replace({expr}, "kind", "{kind}", "", "")' for kind, expr in (("band", band), ("margin", margin)))
    return f"{choose} without (kind) ({' or '.join(kinds)})"


# What a fresh server lacks is 26 hours of recorded rules. Where a rule would read them it reads the level instead: as
# many samples, and for the median as many to sort. `label_replace` keeps the two kinds of bands apart for min and max.
LEAN = {
    "band:mean": f"avg_over_time({METRIC}[1h])",
    "band:sigma": f"stddev_over_time({METRIC}[{SPAN}])",
    "band:upper": "band:mean + 2 * band:sigma",
    "band:lower": "band:mean - 2 * band:sigma",
}
MEAN_SIGMA = {
    "band:level": f"{METRIC} > 0",
    "band:mean": f"avg_over_time({METRIC}[1h])",
    "band:sigma_1h": f"stddev_over_time({METRIC}[1h])",
    "band:sigma": f"stddev_over_time({METRIC}[{SPAN}])",  # of band:sigma_1h
    "band:upper": widest("max", "band:mean + 2 * band:sigma", "1.05 * band:mean"),
    "band:lower": widest("min", "band:mean - 2 * band:sigma", "0.95 * band:mean"),
}
MEDIAN_MAD = {
    "band:level": f"quantile_over_time(0.5, {METRIC}[1h])",
    "band:median": f"quantile_over_time(0.5, {METRIC}[{SPAN}])",
    "band:deviation": f"abs({METRIC} - band:median)",
    "band:mad": f"quantile_over_time(0.75, {METRIC}[{SPAN}]) - band:median",  # the median of band:deviation
    "band:upper": widest("max", "band:median + 3 * band:mad", "1.05 * band:median"),
    "band:lower": widest("min", "band:median - 3 * band:mad", "0.95 * band:median"),
}
RULES = {"mean_sigma": MEAN_SIGMA, "median_mad": MEDIAN_MAD, "lean_mean_sigma": LEAN}
GOALS = {"mean_sigma": "goal: 10x", "median_mad": "goal: 30x", "lean_mean_sigma": "no goal set"}
ABOUT = {
    "mean_sigma": f"1 h mean, 2 sigma over {SPAN}, least width, level, alert",
    "median_mad": f"medians and 3 MAD over {SPAN}, least width, level, alert",
    "lean_mean_sigma": f"the fewest rules for 1 h mean, 2 sigma over {SPAN} and an alert",
}
ANOMALOUS = f"{METRIC} > band:upper or {METRIC} < band:lower"


def rule_file(directory: Path, name: str, rules: dict[str, str]) -> Path:
    """Write one group: the recording rules and an alert."""
    recorded = [{"record": record, "expr": expr} for record, expr in rules.items()]
    alert = {"alert": "Anomalous", "expr": ANOMALOUS}
    group = {"name": name, "interval": f"{PERIOD}s", "rules": [*recorded, alert]}
    path = directory / f"{name}.yml"
    path.write_text(yaml.safe_dump({"groups": [group]}))
    return path
