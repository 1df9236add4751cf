"""The live cycle over rows that lie on no grid."""

from collections.abc import Iterator
from contextlib import nullcontext

import numpy as np

from detectors.types import Batch, Floats, Key
from exporter.cycle import judge
from exporter.job import Job
from exporter.prepare import fill_gaps
from exporter.verdict import Verdict


def replay_rows(job: Job, key: Key, values: Floats, clock: Floats, lead: int) -> Iterator[Verdict]:
    """Judge every row as the sample after the one before it; the first verdict is that of row number `lead`.

    A window ends at the time of its newest row. The rows before it count as evenly spaced, since detectors know no
    other windows: a long gap makes no hole in them and does not begin the entity anew.

    Parameters
    ----------
    job : Job
        With the step that is usual between rows.
    key : Key
        The one entity.
    values : Floats, shape (1, C, N)
    clock : Floats, shape (N,)
        Unix seconds, ascending.
    lead : int
        Rows, at least 1, that the first cycle finds: it judges the last of them, after learning the others.
    """
    keys, channels, samples = (key,), tuple(job.config.queries), job.window.samples
    empty = max(samples - lead, 0)  # columns before the first row: a first cycle asks for a whole window at least
    padded = np.pad(values, ((0, 0), (0, 0), (empty, 0)), constant_values=np.nan)

    def window(row: int, size: int) -> Batch:
        size = min(size, empty + row + 1)
        times = clock[row] - job.config.step * np.arange(size - 1, -1, -1.0)
        return Batch(keys, channels, times, padded[:, :, empty + row + 1 - size : empty + row + 1])

    job.ensure_fitted(fill_gaps(window(lead - 1, len(clock)), job.config.fill))
    for row in range(len(clock)):
        batch = window(row, samples)
        if row >= lead:
            job.ensure_fitted(fill_gaps(batch, job.config.fill))
        verdict = judge(job, batch, lambda _: nullcontext())
        if row >= lead - 1:
            yield verdict
