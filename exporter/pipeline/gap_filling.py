"""What happens to samples between the window and the detector."""

from dataclasses import replace

import numpy as np

from detectors.types import Batch


def fill_gaps(batch: Batch, limit: int) -> Batch:
    """Fill gaps of up to `limit` samples with the sample before, or at the window's beginning with the one after.

    Longer gaps stay NaN, and so does a missing newest sample: what is not there cannot be judged.
    Returns `batch` itself when there is nothing to fill.
    """
    missing = np.isnan(batch.values)
    if limit == 0 or not missing[:, :, :-1].any():
        return batch
    samples = batch.values.shape[2]
    at = np.arange(samples)
    before = np.maximum.accumulate(np.where(missing, -1, at), axis=2)  # index of the last sample so far
    after = np.minimum.accumulate(np.where(missing, samples, at)[:, :, ::-1], axis=2)[:, :, ::-1]
    short = missing & (after - before - 1 <= limit) & (after < samples)
    if not short.any():
        return batch
    values = batch.values.copy()
    entity, channel, column = np.nonzero(short)
    source = np.where(before >= 0, before, after)[entity, channel, column]
    values[entity, channel, column] = batch.values[entity, channel, source]
    return replace(batch, values=values)
