"""How the signals of one entity's channels usually go together, and how far one sample leaves that way."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from detectors.calibration import Rows
from detectors.entity_state import Column
from detectors.types import Flags, Floats

_SHRINKAGE: Final = 0.1
_CLIP: Final = 8.0


def clipped(signals: Floats) -> Floats:
    """Return signals of unit deviation as they are compared and learnt: bounded, 0 where one is missing."""
    bounded: Floats = np.clip(np.nan_to_num(signals), -_CLIP, _CLIP)
    return bounded


def _product(matrices: NDArray[np.float32], vectors: Floats) -> Floats:
    return np.asarray(np.matmul(matrices, vectors[:, :, None], dtype=np.float64)[:, :, 0])


@dataclass(frozen=True, slots=True)
class Correlation:
    """Second moments of C signals per row over a week, and their inverse, shrunk towards independence.

    Parameters
    ----------
    prefix : str
        Of the column names.
    """

    prefix: str

    def columns(self, channels: int) -> dict[str, Column]:
        """Return the state columns of an entity."""
        square = (channels, channels)
        return {
            f"{self.prefix}covariance": Column(0.0, square, np.float32),
            f"{self.prefix}precision": Column(0.0, square, np.float32),  # its inverse; refreshed every hour
        }

    def distance(self, rows: Rows, signals: Floats, missing: Flags) -> tuple[Floats, Floats]:
        """Return the Mahalanobis distance over the root of C, shape (R,), and how far each channel is from the others.

        The latter, shape (R, C), is the square of what is left of a channel once the others have foretold it, in units
        of its variance: it points to the channel that broke the correlation, not to those that followed one another.
        A channel that is `missing`, shape (R, C), is where the others foretell it.
        """
        precision = rows[f"{self.prefix}precision"]
        own = np.maximum(np.diagonal(precision, axis1=1, axis2=2), np.float32(1e-9))
        turned = _product(precision, signals)
        if missing.any():
            signals = np.where(missing, signals - turned / own, signals)
            turned = _product(precision, signals)
        square = np.maximum((turned * signals).mean(axis=1), 0.0)
        return np.sqrt(square), np.where(missing, 0.0, turned**2 / own)

    def learn(self, rows: Rows, signals: Floats, gain: Floats) -> None:
        """Take in the signals of one sample; `gain`, shape (R,), is 0 where nothing is to be learnt."""
        small = signals.astype(np.float32)
        covariance = rows[f"{self.prefix}covariance"]
        covariance += gain.astype(np.float32)[:, None, None] * (small[:, :, None] * small[:, None, :] - covariance)

    def refresh(self, rows: Rows, which: NDArray[np.intp]) -> None:
        """Invert anew the covariance of the rows `which`."""
        shrunk = (1 - _SHRINKAGE) * rows[f"{self.prefix}covariance"][which].astype(np.float64)
        shrunk += _SHRINKAGE * np.eye(shrunk.shape[1])
        rows[f"{self.prefix}precision"][which] = np.linalg.inv(shrunk)
