"""What a cycle computes while the source computes: all that does not depend on the samples that it is asked for."""

import numpy as np

from detectors import Batch
from exporter.observe.stages import Measure
from exporter.pipeline.gap_filling import fill_gaps
from exporter.pipeline.job import Job


def look_ahead(job: Job, until: float, measure: Measure) -> None:
    """Have the detector prepare for the newest samples at `until` (Unix seconds), where nothing else is missing.

    It goes without as well: what it finds is the same to the bit.
    """
    job.gapless = None
    if not job.is_live:
        return
    coming = job.window.coming(float(np.floor(until / job.config.step)) * job.config.step)
    if coming is None:
        return
    with measure("ahead"):
        coming = coming.last(job.window.samples)
        filled = fill_gaps(coming, job.config.fill)
        if filled is coming and not np.isnan(coming.values[:, :, -2:-1]).any():
            job.gapless = coming.keys, float(coming.times[-1])
        job.model.detector.prepare(job.learnt.calendar.with_weekdays(filled))


def seen_by_detector(job: Job, window: Batch) -> Batch:
    """Return a window with short gaps filled, and with the days of the week as which its samples count."""
    (keys, time), job.gapless = job.gapless or ((), np.nan), None
    window = window.last(job.window.samples)
    if keys is not window.keys or time != window.times[-1]:
        window = fill_gaps(window, job.config.fill)
    return job.learnt.calendar.with_weekdays(window)
