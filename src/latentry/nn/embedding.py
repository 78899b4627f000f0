"""Numbers as vectors: the time of a diffusion process, and a plain vector condition."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def sinusoids(t: Tensor, channels: int, *, sine_first: bool = False, frequency_shift: int = 0) -> Tensor:
    """cos(t f) then sin(t f) for frequencies f falling geometrically from 1 towards 1/10000, in float32.

    t: (N,), any real numbers. channels: width of the result (N, channels); an odd one ends in a zero.
    sine_first: the sines before the cosines. frequency_shift: 1 lets the last frequency be 1/10000 itself.
    Source: Vaswani et al. 2017, section 3.5, with the cosines first as in CompVis latent-diffusion; the other two as in
    Ho et al. 2020.
    """
    half = channels // 2
    steps = torch.arange(half, dtype=torch.float32, device=t.device)
    frequencies = torch.exp(-math.log(10000) * steps / (half - frequency_shift))  # (half,)
    angles = t.float()[:, None] * frequencies  # (N, half)
    parts = [angles.sin(), angles.cos()] if sine_first else [angles.cos(), angles.sin()]
    if channels % 2:
        parts.append(torch.zeros_like(angles[:, :1]))
    return torch.cat(parts, dim=1)  # (N, channels)


class VectorEmbedding(nn.Sequential):
    """A vector as the embedding that residual blocks take: linear, SiLU, linear, (N, in) -> (N, out)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(nn.Linear(in_channels, out_channels), nn.SiLU(), nn.Linear(out_channels, out_channels))
