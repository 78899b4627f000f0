"""The diagonal Gaussian that a KL first stage encodes an image into."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Gaussian:
    """N(mean, exp(log_variance)) per element, held in float32 or wider whatever the network's precision.

    moments: (B, 2c, h, w), mean then log-variance; the log-variance is clamped to [-30, 20].
    """

    def __init__(self, moments: Tensor) -> None:
        moments = moments.to(torch.promote_types(moments.dtype, torch.float32))
        self.mean, log_variance = moments.chunk(2, dim=1)  # (B, c, h, w) each
        self.log_variance = log_variance.clamp(-30.0, 20.0)

    @property
    def variance(self) -> Tensor:
        return self.log_variance.exp()

    @property
    def deviation(self) -> Tensor:
        return (0.5 * self.log_variance).exp()

    def sample(self, noise: Tensor) -> Tensor:
        """mean + deviation * noise, noise standard normal (B, c, h, w)."""
        return self.mean + self.deviation * noise

    def kl(self) -> Tensor:
        """KL divergence to N(0, 1), summed over c, h, w: (B,). Kingma & Welling 2013, appendix B."""
        return 0.5 * (self.mean.square() + self.variance - 1.0 - self.log_variance).sum(dim=(1, 2, 3))

    def negative_log_likelihood(self, x: Tensor) -> Tensor:
        """-log N(x; mean, variance), summed over c, h, w: (B,)."""
        squares = (x - self.mean).square() / self.variance
        return 0.5 * (math.log(2.0 * math.pi) + self.log_variance + squares).sum(dim=(1, 2, 3))
