"""The score of Liu, Ting & Zhou (2008), doi:10.1109/ICDM.2008.17, from the path length that the detector uses."""

import numpy as np

from detectors import Floats
from detectors.isolation_forest.closed_form import average_path, isolation_path


def isolation_score(samples: Floats) -> Floats:
    """Return 2 ** (-path / c(n)), between 0 and 1, of the last sample of each row, shape (E,)."""
    count = np.isfinite(samples).sum(axis=1).astype(np.float64)
    score: Floats = np.exp2(-isolation_path(samples) / np.maximum(average_path(count), 1.0))
    return score
