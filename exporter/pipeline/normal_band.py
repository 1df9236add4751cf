"""The band that is shown as normal: what the detector forecasts, within what the job's policy lets count."""

import numpy as np

from detectors.types import Floats, Judgement
from exporter.pipeline.policy import Policy


def normal_band(policy: Policy, judgement: Judgement) -> tuple[Floats, Floats]:
    """Return the lower and upper end of what counts as normal, shape (E, C); NaN where there is no such limit.

    It agrees with `Policy.apply`: more false alarms make it narrower, a deviation in a direction that does not count
    has no limit, a band is at least as wide as the least deviation, and what lies outside the valid range is outside
    the band. The valid range counts without a forecast too.
    """
    lower, upper = judgement.lower.copy(), judgement.upper.copy()
    if policy.scale != 1.0:  # a score is nearly proportional to the deviation
        with np.errstate(invalid="ignore"):
            lower = judgement.expected - (judgement.expected - lower) / policy.scale
            upper = judgement.expected + (upper - judgement.expected) / policy.scale
    if policy.least_deviation > 0 or policy.direction != "both":
        with np.errstate(over="ignore"):
            lower = np.fmin(lower, judgement.expected - policy.least_deviation)
            upper = np.fmax(upper, judgement.expected + policy.least_deviation)
    if policy.direction == "above":
        lower[...] = np.nan
    elif policy.direction == "below":
        upper[...] = np.nan
    if np.isfinite(policy.lowest):
        lower = np.fmax(lower, policy.lowest)
    if np.isfinite(policy.highest):
        upper = np.fmin(upper, policy.highest)
        lower = np.minimum(lower, policy.highest)
    if np.isfinite(policy.lowest):
        upper = np.maximum(upper, policy.lowest)
    return lower, upper
