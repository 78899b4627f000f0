"""Figures of edges: how much two pixels side by side differ, everywhere or across a border."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def gradient_energy(images: Tensor) -> Tensor:
    """Mean squared difference of neighbours down plus that of neighbours to the right, of (B, C, H, W), (B,)."""
    return sum((part.square().mean((1, 2, 3)) for part in _differences(images)), images.new_zeros(len(images)))


def border_energy(images: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference of the neighbours of which one lies in the mask, and one outside, (B,); NaN for none.

    images: (B, C, H, W). mask: (B, H, W) or (B, 1, H, W) bool.
    """
    inside = mask.reshape(len(images), 1, *images.shape[2:]).float()
    total, count = images.new_zeros(len(images)), images.new_zeros(len(images))
    for part, crossing in zip(_differences(images), _differences(inside), strict=True):
        total = total + (part.square().mean(1, keepdim=True) * crossing.abs()).sum((1, 2, 3))
        count = count + crossing.abs().sum((1, 2, 3))
    return total / count


def seam_ratio(images: Tensor, rows: Iterable[int] = (), columns: Iterable[int] = ()) -> Tensor:
    """Mean squared difference across the borders of tiles over that of all other neighbours, (B,): 1 without seams.

    images: (B, C, H, W). rows, columns: the first row or column after each border, between 1 and the last.
    """
    totals = [images.new_zeros(len(images)) for _ in range(2)]
    counts = [0, 0]
    for part, borders, axis in zip(_differences(images), (rows, columns), (2, 3), strict=True):
        energy = part.square().mean(1).sum(4 - axis)  # (B, H - 1) or (B, W - 1)
        at = torch.zeros(energy.shape[1], dtype=torch.bool)
        at[[border - 1 for border in borders]] = True
        for number, chosen in enumerate((at, ~at)):
            totals[number] = totals[number] + energy[:, chosen].sum(1)
            counts[number] += int(chosen.sum()) * part.shape[5 - axis]
    return (totals[0] / counts[0]) / (totals[1] / counts[1])


def _differences(images: Tensor) -> tuple[Tensor, Tensor]:
    """Of neighbours down, (B, C, H - 1, W), and to the right, (B, C, H, W - 1)."""
    return images.diff(dim=2), images.diff(dim=3)
