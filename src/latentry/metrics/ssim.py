"""Structural similarity."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

RADIUS, SIGMA = 5, 1.5
K1, K2 = 0.01, 0.03


def ssim(x: Tensor, y: Tensor, peak: float) -> Tensor:
    """Mean structural similarity of each image over all windows that lie inside it and all channels, (B,); 1 if equal.

    x, y: (B, C, H, W), sides of at least 11. peak: greatest possible difference: 1 for [0, 1].
    Source: Wang et al. 2004, equation 13, with their Gaussian window of 11x11 pixels and deviation 1.5.
    """
    if x.shape != y.shape or min(x.shape[2:]) <= 2 * RADIUS:
        raise ValueError(f"ssim: images of {tuple(x.shape)} and {tuple(y.shape)}; one shape, sides of at least 11")
    x, y = x.double(), y.double()
    mean_x, mean_y = _weighted(x), _weighted(y)
    variance_x, variance_y = _weighted(x * x) - mean_x**2, _weighted(y * y) - mean_y**2
    covariance = _weighted(x * y) - mean_x * mean_y
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    light = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return (light * structure).mean((1, 2, 3))


def _weighted(images: Tensor) -> Tensor:
    """The Gaussian mean around each pixel whose window lies inside, each channel by itself."""
    kernel = torch.exp(-torch.arange(-RADIUS, RADIUS + 1.0, dtype=images.dtype).square() / (2 * SIGMA**2))
    kernel = (kernel / kernel.sum()).to(images.device).view(1, 1, -1, 1)
    flat = images.flatten(0, 1)[:, None]  # (B C, 1, H, W)
    return functional.conv2d(functional.conv2d(flat, kernel), kernel.mT).unflatten(0, images.shape[:2])[:, :, 0]
