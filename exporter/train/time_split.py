"""The time to train on, and the newest part of it that is held back to judge the new model by."""

import math
from collections.abc import Sequence
from typing import Final

from exporter.config.sections.train import TrainConfig
from exporter.labelled_incidents import LabelledIncident
from exporter.pipeline.job import Job
from exporter.train.errors import TrainError

PROBES: Final = 200
"""Points at which is looked where the samples begin, before the whole window is read."""
LONGEST_HELD: Final = 0.5
"""Most of the time that is held back so that there are enough known incidents in it."""


def beginning(job: Job, first: int, last: int) -> int:
    """Return the step (number since 1970) at which the samples begin. Raises SourceError, TrainError."""
    if last - first < 2:
        raise TrainError("the time to train on is shorter than two steps; see --from, --since and train.window")
    width, coarse, begins = job.config.step, max((last - first) // PROBES, 1), []
    for query in job.queries.values():
        frame = job.source.range(query, first * width, last * width, coarse * width, job.config.max_series)
        if len(frame.times):
            begins.append(round(float(frame.times.min()) / width))
    if not begins:
        raise TrainError(
            "the queries gave no sample in the training window; try them in Prometheus, and look at its retention"
        )
    return max(min(begins) - coarse + 1, first)


def split(first: int, last: int, step: float, events: Sequence[LabelledIncident], config: TrainConfig) -> int:
    """Return the last step to train on: more is held back where that gives enough known incidents to judge by.

    Raises TrainError.
    """
    total = last - first + 1
    at = last - max(round(config.holdout * total), 1)
    starts = sorted((each.start for each in events), reverse=True)[: config.gate.least_events]
    if starts and (wanted := math.floor(starts[-1] / step) - 1) < at:
        at = max(wanted, last - round(max(LONGEST_HELD, config.holdout) * total))
    if at <= first:
        raise TrainError("there are too few samples to hold some back; train when there are more")
    return at
