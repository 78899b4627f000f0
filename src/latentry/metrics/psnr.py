"""Peak signal-to-noise ratio."""

from __future__ import annotations

import torch
from torch import Tensor

from latentry.metrics.metric import Metric


def psnr(x: Tensor, y: Tensor, peak: float) -> Tensor:
    """10 log10(peak² / mean squared error) of each image, in dB, (B,); infinite where x equals y.

    x, y: (B, C, H, W). peak: greatest possible difference: 1 for [0, 1], 2 for [-1, 1], 255 for 8-bit numbers.
    """
    return masked_psnr(x, y, torch.ones_like(x[:, :1]), peak)


def masked_psnr(x: Tensor, y: Tensor, mask: Tensor, peak: float) -> Tensor:
    """`psnr` over the pixels where the mask is above 0, in dB, (B,); NaN for an image whose mask is empty.

    mask: (B, 1, H, W) or (B, H, W), any type.
    """
    if x.shape != y.shape:
        raise ValueError(f"psnr: images of {tuple(x.shape)} and {tuple(y.shape)}; the shapes must agree")
    inside = (mask.reshape(len(x), 1, *x.shape[2:]) > 0).double()
    error = (x.double() - y.double()).square().mean(1, keepdim=True)
    mean = (error * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3))
    return 10 * (peak**2 / mean).log10()


def _mean(real: Tensor, again: Tensor) -> Tensor:
    return psnr(real, again, 1.0).mean()


METRIC = Metric("PSNR", _mean, unit="dB")
