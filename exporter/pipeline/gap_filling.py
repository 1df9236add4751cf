"""Short gaps of a window, filled before it is judged."""

from dataclasses import replace

import numpy as np

from detectors.types import Batch, Flags


def fill_gaps(batch: Batch, limit: int) -> Batch:
    """Fill gaps of up to `limit` samples with the sample before, or at the window's beginning with the one after.

    Longer gaps stay NaN, and so does a missing newest sample: what is not there cannot be judged.
    Returns `batch` itself when there is nothing to fill.
    """
    values = batch.values
    missing = np.isnan(values)
    if limit == 0 or not missing[:, :, :-1].any():
        return batch
    # A beginning without any sample is too long a gap for every series, and most series have no other one.
    empty = _leading(missing)
    first = empty if empty > limit else 0
    entity, channel = np.nonzero(missing[:, :, first:-1].any(axis=2))
    begin = max(first - limit - 1, 0)
    gaps, there = missing[entity, channel, begin:], values[entity, channel, begin:]
    samples = gaps.shape[1]
    at = np.arange(samples)
    before = np.maximum.accumulate(np.where(gaps, -1, at), axis=1)  # index of the last sample so far
    after = np.minimum.accumulate(np.where(gaps, samples, at)[:, ::-1], axis=1)[:, ::-1]
    short = gaps & (after - before - 1 <= limit) & (after < samples)
    if not short.any():
        return batch
    row, column = np.nonzero(short)
    source = np.where(before >= 0, before, after)[row, column]
    values = values.copy()
    values[entity[row], channel[row], begin + column] = there[row, source]
    return replace(batch, values=values)


def _leading(missing: Flags) -> int:
    """Return at how many times, from the first on, every series is missing; shape (E, C, T)."""
    present = np.flatnonzero(~missing[:1, :1].ravel())  # what the first series has bounds it
    most = int(present[0]) if len(present) else missing.shape[2]
    present = np.flatnonzero(~missing[:, :, :most].all(axis=(0, 1)))
    return int(present[0]) if len(present) else most
