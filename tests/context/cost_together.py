"""What joint incidents and companions cost at 100,000 series: `python -m tests.context.cost_together`."""

import dataclasses
import resource
import time

import numpy as np

from exporter.config.sections.root import Config
from exporter.observe.metrics import SelfMetrics
from exporter.sinks.joint_log import JointLog
from exporter.sinks.recent import RecentVerdicts
from tests.context.companions import fault, ours
from tests.support.verdicts import verdict

SERIES, MINUTES, OPEN = 100_000, 10, 10_000


def main() -> None:
    """Print milliseconds of a cycle in several cases, and megabytes."""
    keys = tuple(
        tuple(sorted({"namespace": f"n{n % 50}", "rack": f"r{n % 2500}", "instance": f"i{n}", "path": "/"}.items()))
        for n in range(SERIES)
    )
    recent = RecentVerdicts()
    config = Config.model_validate({"jobs": {"cpu": {"expr": "up"}}})
    recent.prepare(config).commit()
    calm = verdict(keys, lower=np.zeros((SERIES, 1)), upper=np.full((SERIES, 1), 9.0))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    log = JointLog(recent, SelfMetrics())
    log.prepare(config).commit()
    at = 1_800_000_000.0

    def cycle(rows: np.ndarray, since: float, now: float) -> float:
        flag = np.zeros(SERIES, bool)
        flag[rows] = True
        began = np.where(flag, since, np.nan)
        shown = dataclasses.replace(calm, flag=flag, alert=flag, since=began, time=now)
        recent.record(shown)
        start = time.process_time()
        log.record(shown)
        return time.process_time() - start

    none = np.empty(0, int)
    quiet = np.mean([cycle(none, at, at + 60 * n) for n in range(MINUTES)])
    now = at + 60 * MINUTES
    few = np.arange(20) * 977
    first = cycle(few, now, now)  # counts the labels of all series, once in ten minutes
    goes_on = np.mean([cycle(few, now, now + 60 * n) for n in range(1, MINUTES)])
    now += 60 * MINUTES
    cycle(none, now, now)
    storm = cycle(np.arange(OPEN), now + 600, now + 600)
    lasts = np.mean([cycle(np.arange(OPEN), now + 600, now + 600 + 60 * n) for n in range(1, MINUTES)])
    ends = cycle(none, now, now + 2000)
    values = fault(1).values
    start = time.process_time()
    ours(values)
    moved = time.process_time() - start
    told = {
        "no incident": quiet, "20 open, labels are counted": first, "20 stay open": goes_on,
        "10,000 open at once": storm, "10,000 stay open": lasts, "10,000 end": ends,
        "what else moved among 5,000 series, on request": moved,
    }  # fmt: skip
    for what, seconds in told.items():
        print(f"{what}: {1000 * float(seconds):.1f} ms")
    print(f"memory: {(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
