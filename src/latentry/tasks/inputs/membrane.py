"""The smoothest surface over a hole: what is put there before a network looks at it, and an offset without a seam."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

MOST_STEPS = 2000
ACCURACY = 1e-5
COARSEST = 8
"""Side of a picture whose hole is filled without a smaller picture first."""


def membrane(values: Tensor, hole: Tensor, reach: float = math.inf) -> Tensor:
    """(C, H, W) with the hole harmonic: each value in it is the mean of its neighbours, as a soap film would lie.

    hole: (H, W) bool; a picture without an edge of it is left as it is. At the picture's border nothing flows out.
    reach: in pixels, over which the film falls to 1/e of what its edge is, towards 0 (a screened Poisson equation).
    Solved by conjugate gradients from the film of a picture half as large, in float32, to about 1e-5.
    Source: Perez et al. 2003, "Poisson image editing", eq. 2 with a guidance of zero.
    """
    if not hole.any() or hole.all():
        return values
    inside, pull = hole.to(values), 1 / reach**2
    x = torch.zeros_like(values) if pull else _coarse(values, hole) * inside
    right = inside * _neighbours(values * (1 - inside))  # what the known neighbours pull with
    left = right - inside * _stiffness(x, pull)
    direction, size = left, _dot(left, left)  # (C, 1, 1)
    enough = ACCURACY**2 * float(inside.sum())
    for _ in range(MOST_STEPS):
        if float(size.max()) <= enough:
            break
        pulled = inside * _stiffness(direction, pull)
        step = size / _dot(direction, pulled).clamp(min=1e-30)
        x, left = x + step * direction, left - step * pulled
        now = _dot(left, left)
        direction, size = left + now / size.clamp(min=1e-30) * direction, now
    return torch.where(hole, x, values)


def _coarse(values: Tensor, hole: Tensor) -> Tensor:
    """A first guess for the hole: the film over a picture half as large, whose pixels are means of what is known."""
    height, width = hole.shape
    if min(height, width) < COARSEST:
        known = (~hole).to(values)
        return (values * known).sum((1, 2), keepdim=True) / known.sum().clamp(min=1) + torch.zeros_like(values)
    known = (~hole).to(values)[None]
    share = F.avg_pool2d(known, 2, ceil_mode=True)
    means = F.avg_pool2d(values * known, 2, ceil_mode=True) / share.clamp(min=1e-6)
    small = membrane(means, share[0] == 0)
    return F.interpolate(small[None], size=(height, width), mode="bilinear", align_corners=False)[0]


def _neighbours(x: Tensor) -> Tensor:
    """The sum of the four neighbours; beyond the border there are none."""
    padded = F.pad(x, (1, 1, 1, 1))
    return padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]


def _stiffness(x: Tensor, pull: float) -> Tensor:
    """How many neighbours there are times x, less their sum, and a pull to 0: positive definite beside known ones."""
    return (_neighbours(torch.ones_like(x[:1])) + pull) * x - _neighbours(x)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((1, 2), keepdim=True)
