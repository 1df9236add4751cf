"""Sub-PCA and POLY of TSB-AD (Liu & Paparrizos 2024, NeurIPS Datasets and Benchmarks), without a look ahead.

The package scores a whole series at once. Here its Sub-PCA is fitted on the past and scores what comes next, and POLY
scores the newest window at every sample from the samples before it, as the package does for the last window it is
given; a test compares the two. Parameters are those the package names for single series.
"""

import sys
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.signal import fftconvolve

from detectors import Floats
from tests.quality.rivals.causal import refits

PACKAGES: Final = Path(__file__).parents[3] / ".venv-rivals"
"""Where make puts packages that only `make quality` needs; they are not dependencies of the exporter."""
DEGREE: Final = 4
"""Of the polynomials of POLY."""


@cache
def on_the_path() -> bool:
    """Let the packages of the rivals be imported, after all others; tell whether they are there."""
    if PACKAGES.is_dir():
        sys.path.append(str(PACKAGES))
    return (PACKAGES / "TSB_AD").is_dir()


def window_of(values: Floats) -> int:
    """Return the package's choice of a window: the lag of the highest peak of the autocorrelation, 3 to 300."""
    from TSB_AD.utils.slidingWindows import find_length_rank

    return 125 if np.ptp(values) == 0 else max(int(find_length_rank(values, rank=1)), 4)


@cache
def _pca() -> Any:
    from sklearn.base import BaseEstimator
    from TSB_AD.models.PCA import PCA

    class Fitted(PCA, BaseEstimator):
        """The package's, which newer versions of scikit-learn do not take for an estimator as it is."""

        def _set_n_classes(self, y: object) -> None:
            self._classes = 2

    return Fitted


def sub_pca(values: Floats, step: float) -> Floats:
    """Return the weighted distances of the newest window from the components of the windows before, shape (N,)."""
    on_the_path()
    scores = np.full(len(values), np.nan)
    width = 0
    for first, begin, end in refits(len(values), step):
        past = values[first:begin]
        width = width or window_of(past)  # chosen once
        if len(past) < 3 * width or np.ptp(past) == 0:
            continue
        model = _pca()(slidingWindow=width, n_components=None, zero_pruning=False)
        with np.errstate(all="ignore"):
            model.fit(past[:, None])
            from_window = values[max(begin - width + 1, 0) : end, None]
            found = model.decision_function(from_window)
        # The package puts a window's score at its middle; here it stands at the end, when it can be known.
        ahead = int(np.ceil((width - 1) / 2))
        scores[begin:end] = found[ahead : ahead + end - begin]
    return scores


def poly(values: Floats, step: float) -> Floats:
    """Return how far the newest window lies from the polynomial through what was before it, shape (N,).

    The window is the package's, the neighbourhood ten windows: the polynomial is fitted on the first nine, and the
    distance is that of the Fourier transforms, which by Parseval's theorem is the norm of the difference over the root
    of the window.
    """
    on_the_path()
    day = next(refits(len(values), step))[1]
    return poly_scores(values, window_of(values[:day]))


def poly_scores(values: Floats, window: int) -> Floats:
    """Return the scores of `poly` with this window."""
    scores = np.full(len(values), np.nan)
    size = max(10 * window, 100)
    if len(values) < size:
        return scores
    past = size - window
    ahead = np.linspace(past, size, window)  # as the package has them, a little beyond the samples' own places
    at = (np.arange(size) - past / 2) / (past / 2)
    basis, triangle = np.linalg.qr(np.vander(at[:past], DEGREE + 1))  # orthonormal on the nine windows
    beyond = np.linalg.solve(triangle.T, np.vander((ahead - past / 2) / (past / 2), DEGREE + 1).T).T
    moved = values - values.mean()
    weights = np.stack([fftconvolve(moved, column[::-1], "valid") for column in basis.T])[:, : len(values) - size + 1]
    newest = np.stack([fftconvolve(moved, column[::-1], "valid") for column in beyond.T])[:, past:]
    total = np.convolve(moved**2, np.ones(window), "valid")[past:]
    squared = total - 2 * (weights * newest).sum(axis=0) + np.einsum("it,ij,jt->t", weights, beyond.T @ beyond, weights)
    scores[size - 1 :] = np.sqrt(np.maximum(squared, 0) / window)
    return scores
