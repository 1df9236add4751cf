"""Samples through a detector as the cycle judges, decides and learns them, one after the other."""

import numpy as np

from detectors import Batch, Detector, Flags, Floats
from exporter.pipeline.incidents import IncidentTracker


def replay(detector: Detector, history: Batch) -> tuple[Floats, Flags]:
    """Return scores and flags, shape (E, T); an incident clears after 5 minutes and is adopted after a day."""
    entities, _, samples = history.values.shape
    step = float(history.times[1] - history.times[0])
    incidents = IncidentTracker(step, open_after=1, clear_after=300.0, max_hold=86_400.0)
    score, flag = np.full((entities, samples), np.nan), np.zeros((entities, samples), np.bool_)
    for end in range(1, samples + 1):
        first = max(end - 2, 0)
        part = Batch(history.keys, history.channels, history.times[first:end], history.values[:, :, first:end])
        score[:, end - 1] = detector.score(part).score
        decided = incidents.decide(history.keys, score[:, end - 1], float(part.times[-1]), step)
        flag[:, end - 1] = decided.flag
        detector.update(part.last(1), decided.flag, decided.adopted)
    return score, flag


def openings(flag: Flags) -> Flags:
    """Return where an incident begins, shape (E, T)."""
    before = np.concatenate([np.zeros((len(flag), 1), np.bool_), flag[:, :-1]], axis=1)
    return np.asarray(flag & ~before)
