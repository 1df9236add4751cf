"""Variational autoencoder: improbability of the newest sample given the latent variables of its window."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from detectors.networks.base import ForecastAndError, Network, NetworkDetector

if TYPE_CHECKING:
    from torch import Generator, Tensor

_LEAST: Final = -2.0
_LARGEST: Final = 2.0
"""Bounds of the logarithm of a spread, in deviations: a constant window would have spread 0 and a NaN score."""
_FARTHEST: Final = 1e150
"""Deviations are clipped here: their squares would overflow."""


@dataclass(kw_only=True)
class VAE(NetworkDetector):
    """Reconstruction probability of the newest sample in a window of all channels.

    The error is the number of standard deviations at which a normal variable is as improbable relative to its mode.
    Sources: Kingma & Welling (2014), Auto-Encoding Variational Bayes, arXiv:1312.6114; An & Cho (2015), Variational
    Autoencoder Based Anomaly Detection Using Reconstruction Probability, SNU Data Mining Center.
    """

    code: Annotated[int, Field(ge=1, le=256, description="latent variables")] = 6
    draws: Annotated[int, Field(ge=1, le=100, description="draws of the latent variables per probability")] = 8

    def build(self, channels: int) -> Network:
        """Return encoder and decoder."""
        from torch import nn

        size = channels * self.length
        encoder = nn.Sequential(
            nn.Flatten(),  # (N, C, L) -> (N, C * L)
            nn.Linear(size, self.hidden),  # -> (N, H)
            nn.ReLU(),
            nn.Linear(self.hidden, 2 * self.code),  # -> (N, 2 * K): mean and log variance
        )
        decoder = nn.Sequential(
            nn.Linear(self.code, self.hidden),  # (N, K) -> (N, H)
            nn.ReLU(),
            nn.Linear(self.hidden, 2 * size),  # -> (N, 2 * C * L)
            nn.Unflatten(1, (2, channels, self.length)),  # -> (N, 2, C, L): mean and log spread
        )
        return nn.ModuleDict({"encoder": encoder, "decoder": decoder})

    def loss(self, network: Network, seen: "Tensor", there: "Tensor", source: "Generator") -> "Tensor":
        """Return the negative evidence lower bound (N,) of each window, per sample."""
        mean, log_variance = network["encoder"](seen).chunk(2, dim=1)  # (N, K) each
        noise = mean.new_empty(mean.shape).normal_(generator=source)
        center, log_spread = _decoded(network, mean + (0.5 * log_variance).exp() * noise)  # (N, C, L) each
        surprise = there * (0.5 * ((seen - center) / log_spread.exp()) ** 2 + log_spread)
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(dim=1)
        bound: Tensor = (surprise.sum(dim=(1, 2)) + divergence) / there.sum(dim=(1, 2)).clamp(min=1)
        return bound

    def evaluate(self, network: Network, seen: "Tensor", newest: "Tensor") -> ForecastAndError:
        """Return mean and spread of the reconstructions of the newest sample, and its error."""
        import torch

        mean, log_variance = network["encoder"](seen).chunk(2, dim=1)  # (N, K) each
        source = torch.Generator().manual_seed(
            self.seed
        )  # the same draws for every window, so that scores are repeatable
        noise = torch.empty(self.draws, 1, self.code).normal_(generator=source)
        latent = mean + (0.5 * log_variance).exp() * noise  # (S, N, K)
        decoded = _decoded(network, latent.flatten(0, 1))  # (S * N, C, L) each
        # (S, N, C) each, of the newest sample
        center, log_spread = (part[:, :, -1].reshape(self.draws, len(seen), -1).double() for part in decoded)
        mode = torch.logsumexp(-log_spread, dim=0)
        away = ((newest - center) / log_spread.exp()).clamp(-_FARTHEST, _FARTHEST)
        likely = torch.logsumexp(-log_spread - 0.5 * away**2, dim=0)
        error = (2 * (mode - likely)).clamp(min=0).sqrt()  # (N, C)
        return center.mean(dim=0), (math.log(self.draws) - mode).exp(), error


def _decoded(network: Network, latent: "Tensor") -> "tuple[Tensor, Tensor]":
    center, log_spread = network["decoder"](latent).unbind(dim=1)
    return center, log_spread.clamp(_LEAST, _LARGEST)
