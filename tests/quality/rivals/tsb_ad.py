"""Sub-PCA and POLY of TSB-AD (Liu & Paparrizos 2024, NeurIPS Datasets and Benchmarks), without a look ahead.

The package scores a whole series at once. Here Sub-PCA is fitted on the past and scores what comes next, and POLY
scores the newest window at every sample from the samples before it, as the package does for the last window it is
given; tests compare them. Parameters are those the package names for single series.
"""

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import fftconvolve

from detectors import Floats
from tests.quality.rivals.causal import refits

PACKAGES: Final = Path(__file__).parents[3] / ".venv-rivals"
"""Where make puts packages that only `make quality` needs; they are not dependencies of the exporter."""
_ROWS: Final = 512
"""Windows whose distances are taken at once."""
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


@dataclass(frozen=True, eq=False)
class Components:
    """The package's PCA fitted on windows, with all components, which it weights by their shares of the variance.

    It is fitted by scikit-learn, as there. The package also scores the windows that it is fitted on, and takes the
    distances one by one: fifteen times as long. Here they come of products of matrices, where they are asked for.
    """

    scaler: Any
    pca: Any

    @classmethod
    def of(cls, windows: Floats) -> "Components":
        """Fit the components of `windows`, shape (N, W)."""
        from sklearn.decomposition import PCA
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(windows)
        # Of the covariance: the same components in a third of the time where windows are long and few.
        return cls(scaler, PCA(svd_solver="covariance_eigh").fit(scaler.transform(windows)))

    def distances(self, windows: Floats) -> Floats:
        """Return the weighted sum of the distances from all components, shape (N,)."""
        found, components = np.empty(len(windows)), self.pca.components_
        lengths, weights = (components**2).sum(axis=1), 1 / self.pca.explained_variance_ratio_
        for begin in range(0, len(windows), _ROWS):
            part = (windows[begin : begin + _ROWS] - self.scaler.mean_) / self.scaler.scale_
            squared = part @ (-2 * components.T)  # what follows is done in its place: it stays in the cache
            squared += np.einsum("ij,ij->i", part, part)[:, None]
            squared += lengths
            np.sqrt(np.maximum(squared, 0.0, out=squared), out=squared)
            found[begin : begin + _ROWS] = squared @ weights
        return found


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
        with np.errstate(all="ignore"):
            fitted = Components.of(sliding_window_view(past, width))
            # The package puts a window's score at its middle; here it stands at the end, when it can be known.
            scores[begin:end] = fitted.distances(sliding_window_view(values[begin - width + 1 : end], width))
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
