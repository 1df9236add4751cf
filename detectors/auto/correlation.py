"""Correlation between the channels of an entity, and the distance of one sample from it."""

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
    """Return signals of unit deviation, clipped, with 0 where one is missing."""
    bounded: Floats = np.clip(np.nan_to_num(signals), -_CLIP, _CLIP)
    return bounded


def _product(matrices: NDArray[np.float32], vectors: Floats) -> Floats:
    return np.asarray(np.matmul(matrices, vectors[:, :, None], dtype=np.float64)[:, :, 0])


@dataclass(frozen=True, slots=True)
class Correlation:
    """Covariance of C signals per row over a week, and its inverse, shrunk towards independence.

    Parameters
    ----------
    prefix : str
        Prefix of the column names.
    """

    prefix: str

    def columns(self, channels: int) -> dict[str, Column]:
        """Return the state columns of an entity with this many channels."""
        square = (channels, channels)
        return {
            f"{self.prefix}covariance": Column(0.0, square, np.float32),
            f"{self.prefix}precision": Column(0.0, square, np.float32),  # its inverse; refreshed every hour
        }

    def distance(self, rows: Rows, signals: Floats, missing: Flags) -> tuple[Floats, Floats]:
        """Return the Mahalanobis distance over the root of C, and the part of each channel.

        The part is the squared residual of a channel after its prediction from the others, in units of its variance.
        It points to the channel that broke the correlation, not to channels that moved as they usually do together.

        Parameters
        ----------
        rows : Rows
            State arrays of R entities.
        signals : Floats, shape (R, C)
            Signals as `clipped` returns them.
        missing : Flags, shape (R, C)
            Channels without a sample: the prediction from the others takes the place of their signal.

        Returns
        -------
        distance : Floats, shape (R,)
            Mahalanobis distance over the root of C.
        part : Floats, shape (R, C)
            0 where a channel is missing.
        """
        precision = rows[f"{self.prefix}precision"]
        own = np.maximum(np.diagonal(precision, axis1=1, axis2=2), np.float32(1e-9))
        weighted = _product(precision, signals)
        if missing.any():
            signals = np.where(missing, signals - weighted / own, signals)
            weighted = _product(precision, signals)
        square = np.maximum((weighted * signals).mean(axis=1), 0.0)
        return np.sqrt(square), np.where(missing, 0.0, weighted**2 / own)

    def learn(self, rows: Rows, signals: Floats, gain: Floats) -> None:
        """Learn the signals (R, C) of one sample; `gain`, shape (R,), is 0 where nothing is learnt."""
        small = signals.astype(np.float32)
        covariance = rows[f"{self.prefix}covariance"]
        covariance += gain.astype(np.float32)[:, None, None] * (small[:, :, None] * small[:, None, :] - covariance)

    def refresh(self, rows: Rows, which: NDArray[np.intp]) -> None:
        """Recompute the inverse covariance of the rows `which`."""
        shrunk = (1 - _SHRINKAGE) * rows[f"{self.prefix}covariance"][which].astype(np.float64)
        shrunk += _SHRINKAGE * np.eye(shrunk.shape[1])
        rows[f"{self.prefix}precision"][which] = np.linalg.inv(shrunk)
