"""Pairs of series that depend on each other without a label that says so: are their first incidents one?

Every series has small moves by chance, as often as its scores say. Both of a pair have some more at the same time,
which open no incident. Then both of each pair fail, and as many others that have nothing to do with each other.
"""

from dataclasses import dataclass, replace

import numpy as np

from detectors.calibration import KAPPA
from exporter.config.sections.root import Config
from exporter.context.small_moves import LEAST
from exporter.sinks.joint_log import JointLog
from tests.support.verdicts import key, verdict

PAIRS, WEEK = 20, 7 * 1440
NOW = 1_800_000_000.0


@dataclass(frozen=True)
class Joined:
    """Of PAIRS pairs and as many that are none: how many first incidents were one."""

    pairs: int
    strangers: int


def joined(seed: int, series: int = 500, weeks: int = 3, a_week: float = 4.0) -> Joined:
    """Let series move for some weeks, pairs `a_week` times a week together, and then fail."""
    rng = np.random.default_rng(seed)
    keys = tuple(key(service=f"s{n}") for n in range(series))
    log = JointLog()
    log.prepare(Config.model_validate({"jobs": {"cpu": {"expr": "up"}}})).commit()
    calm = verdict(keys, score=np.full(series, 0.1))
    scores: dict[int, list[tuple[int, float]]] = {}
    samples = weeks * WEEK
    for row in range(series):
        for at in rng.integers(0, samples, rng.poisson(weeks * LEAST**-KAPPA)).tolist():
            scores.setdefault(at, []).append((row, min(LEAST * rng.random() ** (-1 / KAPPA), 1.0)))
    for pair in range(PAIRS):
        for at in rng.integers(0, samples - 2, rng.poisson(weeks * a_week)).tolist():
            for row in (2 * pair, 2 * pair + 1):
                scores.setdefault(at + int(rng.integers(2)), []).append((row, rng.uniform(LEAST, 1.0)))
    for at, some in sorted(scores.items()):
        score = calm.score.copy()
        for row, size in some:
            score[row] = max(score[row], size)
        log.record(replace(calm, score=score, time=NOW + 60 * at))
    found = []
    at = NOW + 60 * samples
    for number in range(2 * PAIRS):
        at += 7200
        rows = [2 * number, 2 * number + 1] if number < PAIRS else [2 * number, 2 * number + 61]
        flag = np.isin(np.arange(series), rows)
        log.record(replace(calm, time=at))
        log.record(replace(calm, flag=flag, since=np.where(flag, at + 60, np.nan), time=at + 60))
        found.append(len(log.open()) == 1)
        log.record(replace(calm, time=at + 600))
    return Joined(sum(found[:PAIRS]), sum(found[PAIRS:]))


if __name__ == "__main__":
    import sys

    for argument in sys.argv[1:]:
        print(argument, *(joined(int(argument), n) for n in (500, 5000)))
