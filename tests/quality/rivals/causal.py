"""How a score without a threshold becomes alarms: as its users would, by what it has been so far."""

from collections.abc import Callable, Iterator

import numpy as np

from detectors import Floats
from detectors.units import DAY, HOUR, WEEK

Score = Callable[[Floats, float], Floats]
"""Scores the samples of one channel, shape (N,), at a step in seconds, each from those up to it: shape (N,)."""
_LOOKBACK = 4 * WEEK
_ONE = 1.0 + 1e-9


def refits(samples: int, step: float, first: float = DAY, every: float = 2 * WEEK) -> Iterator[tuple[int, int, int]]:
    """Yield (first, last, end): a model fitted on `first` to `last` is in use for the samples `last` to `end`.

    The first fit is after `first` seconds, or a third of what there is; the others follow when the history has doubled,
    and then after `every` seconds. Four weeks are looked back at.
    """
    begin, longest = max(min(round(first / step), samples // 3), 1), max(round(every / step), 1)
    while begin < samples:
        end = min(2 * begin, begin + longest, samples)
        yield max(begin - round(_LOOKBACK / step), 0), begin, end
        begin = end


def once_a_week(scores: Floats, step: float) -> Floats:
    """Return the ratio of each score to the level that the scores before it exceeded about once a week, shape (N,).

    The level is learnt anew every day from the maxima of the hours of the last four weeks, in the first week the
    largest of them. NaN before there is a day of scores (ten, at long steps).
    """
    ratio = np.full(len(scores), np.nan)
    per_hour, per_day = max(round(HOUR / step), 1), max(round(DAY / step), 10)
    started = np.flatnonzero(np.isfinite(scores))
    if not len(started):
        return ratio
    for begin in range(int(started[0]) + per_day, len(scores), per_day):
        past = scores[max(int(started[0]), begin - round(_LOOKBACK / step)) : begin]
        hours = np.append(np.nan_to_num(past, nan=-np.inf), np.full(-len(past) % per_hour, -np.inf))
        maxima = np.sort(hours.reshape(-1, per_hour).max(axis=1))
        level = maxima[-max(round(len(past) * step / WEEK), 1)]
        now = slice(begin, begin + per_day)
        if np.isfinite(level):
            ratio[now] = scores[now] / level if level > 0 else np.where(scores[now] > level, 2.0, 0.0)
    return ratio / _ONE  # an equal score is no alarm


def of_channels(values: Floats, step: float, score: Score) -> Floats:
    """Return the ratio to the threshold of an entity, shape (N,), from its channels, shape (C, N).

    Each channel has its own threshold. With several the largest ratio of them counts, and has one threshold again, so
    that the entity and not each of its channels is alarmed once a week.
    """
    ratios = np.array([once_a_week(score(filled(channel), step), step) for channel in values])
    if len(ratios) == 1:
        return np.asarray(ratios[0])
    there = np.isfinite(ratios).any(axis=0)
    largest = np.full(values.shape[1], np.nan)
    largest[there] = np.nanmax(ratios[:, there], axis=0)
    return once_a_week(largest, step)


def filled(values: Floats) -> Floats:
    """Return the values with gaps filled by the sample before, leading ones by the first sample: shape (N,)."""
    known = np.flatnonzero(np.isfinite(values))
    if not len(known):
        return np.zeros_like(values)
    before = np.searchsorted(known, np.arange(len(values)), side="right") - 1
    return np.asarray(values[known[np.maximum(before, 0)]])
