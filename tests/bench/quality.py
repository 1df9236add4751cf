"""Slow originals: what a fast result is held against."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr
from sklearn.ensemble import IsolationForest


def robust_score(window: Sequence[float], deviations: float = 6.0) -> float:
    """Return the score of the newest value: its distance from the median of the others, by the textbook."""
    *past, newest = window
    center = float(np.median(past))
    return abs(newest - center) / (deviations * 1.4826 * float(np.median(np.abs(np.array(past) - center))))


def forest_score(window: Sequence[float], seed: int = 0) -> float:
    """Return how easily a forest grown on the window isolates its newest value; high is anomalous."""
    rows = np.array(window)[:, None]
    return -float(IsolationForest(random_state=seed).fit(rows).score_samples(rows[-1:])[0])


def rank_agreement(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return Spearman's rank correlation."""
    return float(spearmanr(ours, theirs).statistic)
