"""The worst reading of an incident on a tape: the one that the running job would have kept, and its evidence."""

import numpy as np
from numpy.typing import NDArray

from detectors.types import Flags, Judgement, Key
from exporter.config.sections.job import JobConfig
from exporter.pipeline.after_deploy import Caution
from exporter.pipeline.evidence import Stream, streams_of, told
from exporter.pipeline.normal_band import normal_band
from exporter.pipeline.policy import Policy
from exporter.pipeline.worst_readings import beyond
from exporter.preview.tape import Tape


def worst_column(tape: Tape, job: JobConfig, row: int, columns: NDArray[np.int64], cautious: Flags) -> int | None:
    """Return the column of the worst reading, None where no score is above 1.

    Parameters
    ----------
    tape : Tape
    job : JobConfig
        The settings that decide.
    row : int
        The entity.
    columns : int64 array, shape (M,)
        Those in which its incident was open, ascending.
    cautious : Flags, shape (M,)
        In which of them its score was lowered, after a deploy.
    """
    policy = Policy.of(job)
    value, expected, lower, upper, share, direction = (
        tape[name][columns, row] for name in ("value", "expected", "lower", "upper", "contribution", "direction")
    )
    raw = tape["score"][columns, row]
    deviation = policy.deviation(value, expected, direction if tape.directed else None, share)
    counts = (policy.counts(deviation) & ~np.isnan(value)).any(axis=1)
    score = policy.scores(raw, counts, policy.invalid(value))
    score = Caution(cautious, cautious, job.deploys.rarity).lowered(score)
    low, high = normal_band(policy, Judgement(raw, expected, lower, upper, share))
    away = beyond(value, low, high)
    with np.errstate(invalid="ignore"):
        hot = np.flatnonzero(score > 1)
    if not len(hot):
        return None
    outside, excess = (away[hot] > 0).any(axis=1), away[hot].max(axis=1)
    return int(columns[hot[np.lexsort((-hot, excess, score[hot], outside))[-1]]])


def evidence(tape: Tape, job: JobConfig, key: Key, row: int, column: int) -> list[Stream]:
    """Return the streams of a score of the entity `key`, the strongest first."""
    found = streams_of(
        tape.streams(column, row), Policy.of(job), tape["value"][column, row][None], np.ones(1, np.bool_)
    )
    return told(found, 0, tuple(job.queries), key, job.units)
