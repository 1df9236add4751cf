"""An exporter that has watched two jobs, of which two series moved at the same time."""

import dataclasses

import numpy as np

from tests.support.pages import STEP, Watched
from tests.support.verdicts import key, verdict

MOVING, WITH, JUMPS = key(host="a"), key(host="b"), key(host="jumps")


def watched(series: int = 200, moved: int = 12, **config) -> Watched:
    """Return an exporter of two jobs that has watched for 100 minutes; two series moved `moved` minutes ago."""
    jobs = {"cpu": {"expr": "cpu_seconds"}, "disk": {"expr": "disk_bytes"}}
    shown = Watched(jobs=jobs, **config)
    rng = np.random.default_rng(5)
    others = tuple(key(host=f"h{n}") for n in range(series))
    for job, keys in (("cpu", (MOVING, *others)), ("disk", (WITH, JUMPS, *others))):
        values = rng.normal(100, 1, (len(keys), 100))
        if job == "disk":
            values[1] += np.where(np.arange(100) % 20 < 10, 0, 40)  # it jumps every ten minutes
        since = np.full(len(keys), np.nan)
        for ago in range(99, -1, -1):
            at = shown.now - ago * STEP
            if ago <= moved:
                values[0, 99 - ago] += 30
                since[0] = shown.now - moved * STEP if job == "cpu" else np.nan
            flag = np.isfinite(since)
            parts = {"values": values[:, [99 - ago]], "score": np.where(flag, 4.0, 0.3), "flag": flag, "since": since}
            parts |= {"expected": [[100.0]] * len(keys), "lower": [[90.0]] * len(keys), "upper": [[110.0]] * len(keys)}
            shown.show(dataclasses.replace(verdict(keys, job=job, **parts), time=at))
    return shown
