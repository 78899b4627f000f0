"""Mean and variance of a map's channels, gathered window by window, and group normalisation by them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Moments:
    """Of each channel the mean and the sum of squares around it, in float64.

    Source: Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances".
    """

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.mean = torch.zeros(channels, dtype=torch.float64)
        self.squares = torch.zeros(channels, dtype=torch.float64)

    def add(self, part: Tensor) -> None:
        """part: (channels, h, w)."""
        mean = part.mean((1, 2))
        squares = (part - mean[:, None, None]).square_().sum((1, 2))  # torch.var_mean takes longer than a convolution
        more, apart = part[0].numel(), mean.double().cpu() - self.mean
        count = self.count + more
        self.mean += apart * (more / count)
        self.squares += squares.double().cpu() + apart.square() * (self.count * more / count)
        self.count = count

    def groups(self, groups: int) -> tuple[Tensor, Tensor]:
        """Mean and variance of each group of channels, at every channel of it."""
        means = self.mean.view(groups, -1)
        mean = means.mean(1, keepdim=True)
        variance = (self.squares.view(groups, -1) / self.count + (means - mean).square()).mean(1, keepdim=True)
        return tuple(v.expand_as(means).reshape(-1) for v in (mean, variance))  # type: ignore[return-value]


def normalised(norm: nn.GroupNorm, moments: Moments, *, silu: bool = True) -> Callable[[Tensor], Tensor]:
    """`norm` as it is of a whole map with these moments, for any part of it; then SiLU, if `silu`."""
    mean, variance = moments.groups(norm.num_groups)
    scale = norm.weight.double().cpu() / (variance + norm.eps).sqrt()
    shift = norm.bias.double().cpu() - mean * scale
    a, b = (v.to(norm.weight)[None, :, None, None] for v in (scale, shift))

    def change(x: Tensor) -> Tensor:
        y = torch.addcmul(b, x, a)
        return F.silu(y, inplace=True) if silu else y

    return change
