"""Autoencoder: error of the newest sample after it was passed through a bottleneck."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from detectors.networks.base import ForecastAndError, Network, NetworkDetector

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(kw_only=True)
class Autoencoder(NetworkDetector):
    """Reconstruction error of the newest sample in a window of all channels.

    Source: Sakurada & Yairi (2014), Anomaly Detection Using Autoencoders with Nonlinear Dimensionality Reduction,
    doi:10.1145/2689746.2689747.
    """

    code: Annotated[int, Field(ge=1, le=256, description="units of the bottleneck")] = 6

    def build(self, channels: int) -> Network:
        """Return encoder and decoder, with one hidden layer each."""
        from torch import nn

        return nn.Sequential(
            nn.Flatten(),  # (N, C, L) -> (N, C * L)
            nn.Linear(channels * self.length, self.hidden),  # -> (N, H)
            nn.ReLU(),
            nn.Linear(self.hidden, self.code),  # -> (N, K)
            nn.Linear(self.code, self.hidden),  # -> (N, H)
            nn.ReLU(),
            nn.Linear(self.hidden, channels * self.length),  # -> (N, C * L)
            nn.Unflatten(1, (channels, self.length)),  # -> (N, C, L)
        )

    def loss(self, network: Network, seen: "Tensor", there: "Tensor", source: "Generator") -> "Tensor":  # noqa: ARG002 - nothing is random here
        """Return the mean squared error (N,) of each window."""
        square = there * (network(seen) - seen) ** 2
        mean: Tensor = square.sum(dim=(1, 2)) / there.sum(dim=(1, 2)).clamp(min=1)
        return mean

    def evaluate(self, network: Network, seen: "Tensor", newest: "Tensor") -> ForecastAndError:
        """Return reconstruction, unit 1 and absolute error of the newest sample."""
        expected = network(seen)[:, :, -1].double()  # (N, C)
        return expected, expected.new_ones(expected.shape), (newest - expected).abs()
