"""How near is too near: nearness of samples judged against that of images that were held out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SPACING = 50
"""Nearest training images whose mean distance is the local spacing of the training set (Carlini et al. 2023)."""
TAIL = 0.2
FEWEST = 10
LEAST = 1e-6
"""The least share of the spacing that is told from 0."""


def nearness(distances: Tensor) -> Tensor:
    """Logarithm of the distance to the nearest training image over the mean of the next ones, (Q,): 0 or lower.

    distances: (Q, k), nearest first, k at least 2; inf where there are fewer.
    """
    others = distances[:, 1:]
    there = others.isfinite()
    spacing = others.where(there, torch.zeros(())).sum(1) / there.sum(1).clamp(min=1)
    spacing = torch.maximum(spacing, torch.full_like(spacing, torch.finfo(spacing.dtype).tiny))
    return (distances[:, 0] / spacing).clamp(LEAST, 1.0).log()


@dataclass(frozen=True)
class HeldOut:
    """What images that were not trained on give: (n,) nearness, sorted."""

    values: Tensor

    @classmethod
    def of(cls, values: Tensor) -> HeldOut:
        return cls(values.double().sort().values)

    def p(self, values: Tensor) -> Tensor:
        """How likely an image that is no copy comes so near, (Q,) in (0, 1].

        Among the n held-out images the share of those as near (conformal: Vovk et al. 2005); below the m-th nearest
        the power law by which distances to nearest neighbours go to 0 (Hill 1975; the exponent is the data's dimension,
        Levina and Bickel 2004), as its predictive distribution of m - 1 images, so that few of them call fewer copies.
        """
        n, m, edge, excess = self._tail()
        inside = (torch.searchsorted(self.values, values.double(), right=True) + 1) / (n + 1)
        below = (edge - values.double()).clamp(min=0)
        tail = m / (n + 1) * (1 + below / excess).pow(-(m - 1))
        return torch.where(values.double() < edge, tail, inside.double())

    def _tail(self) -> tuple[int, int, float, float]:
        """n, m, the m-th nearest, and by how much the nearer ones are below it in all."""
        n = len(self.values)
        m = min(n, max(FEWEST, int(n * TAIL)))
        edge = self.values[m - 1]
        return n, m, float(edge), max(float((edge - self.values[: m - 1]).sum()), LEAST)
