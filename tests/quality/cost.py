"""What a detector costs in a live job of many series: time for each series and sample, and bytes of what it learnt."""

import time
from typing import Final

import numpy as np
import yaml

from exporter.backtest.replay import replay
from tests.quality.contestants import SPECS
from tests.support.cycles import DAY, HOUR, MONDAY, STEP, recorded_job
from tests.support.scenarios import usual

SERIES: Final = 1000
FEW: Final = {"river": 50}
"""Where a thousand would take minutes."""
SAMPLES: Final = 2 * HOUR + 3
"""Samples that are timed; those of an hour boundary, where some detectors do more, are among them."""
TIME, BYTES = HEADS = ("µs per series and sample", "bytes per series")


def cost(name: str) -> dict[str, str]:
    """Run a job of many series after a day of history, and return the cells that come of it."""
    count, rng = FEW.get(name, SERIES), np.random.default_rng(8)
    series = {f"e{row}": usual(rng, DAY + SAMPLES) for row in range(count)}
    detector = yaml.safe_load(SPECS.get(name, name))
    job, samples = recorded_job(series, MONDAY, DAY, STEP, detector=detector)
    first, began = round(MONDAY / STEP), 0.0
    for verdict in replay(job, first + DAY - 1, first + samples - 1, lambda _: None):
        if began == 0.0 and verdict.time >= MONDAY + STEP * (DAY + 2):  # the first ones are told what was backfilled
            began, since = time.process_time(), verdict.time
    elapsed = time.process_time() - began
    size = sum(array.nbytes for array in job.model.detector.state().values())
    return {TIME: f"{elapsed / ((verdict.time - since) / STEP) / count * 1e6:.1f}", BYTES: f"{size / count:,.0f}"}
