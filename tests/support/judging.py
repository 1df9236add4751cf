"""Series in memory through `cycle.judge`, sample after sample: what is decided and learnt as in the exporter."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from detectors import Batch, Floats
from exporter.backtest.replay import make_job
from exporter.config.sections.job import JobConfig
from exporter.observe.stages import unmeasured
from exporter.pipeline.cycle import judge
from exporter.pipeline.job import Job
from exporter.pipeline.verdict import Verdict
from tests.support.batches import keys
from tests.support.fake import FakeSource

MONDAY = 1_772_409_600.0


def job_of(**settings: Any) -> Job:
    """Return a job on an empty source."""
    return make_job("job", JobConfig.model_validate({"expr": "q"} | settings), FakeSource(), hold=True)


def judged(job: Job, values: Floats, first: int = 0) -> Iterator[Verdict]:
    """Yield the verdicts of `values`, shape (E, T), from sample `first` on; sample 0 is of a Monday."""
    names = keys(len(values))
    for end in range(first + 1, values.shape[1] + 1):
        begin = max(end - job.window.samples, 0)
        times = MONDAY + job.config.step * np.arange(begin, end)
        yield judge(job, Batch(names, ("value",), times, values[:, None, begin:end]), unmeasured)
