"""LSTM: error of the forecast of the newest sample from those before it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from detectors.networks.base import ForecastAndError, Network, NetworkDetector

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(kw_only=True)
class LSTM(NetworkDetector):
    """Forecast error of the newest sample.

    Source: Malhotra, Vig, Shroff & Agarwal (2015), Long Short Term Memory Networks for Anomaly Detection in Time
    Series, ESANN, ISBN 978-287587014-8.
    """

    def build(self, channels: int) -> Network:
        """Return a recurrent layer, and a linear one that forecasts the change to the next sample."""
        from torch import nn

        recurrent = nn.LSTM(channels, self.hidden, batch_first=True)  # (N, L - 1, C) -> (N, L - 1, H)
        return nn.ModuleDict({"recurrent": recurrent, "change": nn.Linear(self.hidden, channels)})  # -> (N, L - 1, C)

    def loss(self, network: Network, seen: "Tensor", there: "Tensor", source: "Generator") -> "Tensor":  # noqa: ARG002 - nothing is random here
        """Return the mean squared forecast error (N,) over all samples except the first."""
        there = there[:, :, 1:]
        square = there * (self._forecast(network, seen) - seen[:, :, 1:]) ** 2
        return square.sum(dim=(1, 2)) / there.sum(dim=(1, 2)).clamp(min=1)

    def evaluate(self, network: Network, seen: "Tensor", newest: "Tensor") -> ForecastAndError:
        """Return forecast, unit 1 and absolute error of the newest sample."""
        expected = self._forecast(network, seen)[:, :, -1].double()  # (N, C)
        return expected, expected.new_ones(expected.shape), (newest - expected).abs()

    def _forecast(self, network: Network, seen: "Tensor") -> "Tensor":
        """Return the forecast of each sample except the first from those before it, shape (N, C, L - 1)."""
        past = seen[:, :, :-1].transpose(1, 2)  # (N, L - 1, C)
        hidden, _ = network["recurrent"](past)  # (N, L - 1, H)
        forecast: Tensor = (past + network["change"](hidden)).transpose(1, 2)  # (N, C, L - 1)
        return forecast
