"""The features that all factors are measured in: none of them may be a factor's own."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor
from torch.nn import functional

from latentry.evaluation.measure.networks import features_of
from latentry.metrics.features import Features
from latentry.metrics.features.source import unit
from latentry.nn import weights

GRID, SCALES, SMALLEST, DETAIL = 4, 4, 8, 4.0


class PyramidFeatures:
    """Colours and detail where they are: (B, 16 C (1 + scales)) of images of any channels, without any weights.

    At each scale of a Laplacian pyramid (Burt and Adelson 1983) how strong the detail is in each cell of a 4x4 grid,
    and at last the colours of the cells. Blur lowers the finest scale, noise raises it, wrong colours change the last.
    """

    kind = "pyramid"
    preprocessing = "as trained on; detail of each scale and colours in 4x4 cells"
    digest = hashlib.sha256(f"{preprocessing}/{GRID}/{SCALES}/{SMALLEST}/{DETAIL}".encode()).hexdigest()

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """(B, D) of images (B, C, H, W) in [0, 1], or uint8."""
        x, found = unit(images), list[Tensor]()
        for _ in range(SCALES):
            if min(x.shape[2:]) < 2 * SMALLEST:
                break
            coarse = functional.avg_pool2d(x, 2, ceil_mode=True)
            detail = x - functional.interpolate(coarse, size=x.shape[2:], mode="bilinear")
            found.append(DETAIL * _cells(detail.abs()))
            x = coarse
        return torch.cat([*found, _cells(x)], 1)


def _cells(x: Tensor) -> Tensor:
    return functional.adaptive_avg_pool2d(x, GRID).flatten(1)


def shared_features(channels: int, transparent: bool, device: torch.device) -> list[Features]:
    """SqueezeNet's where its weights are on this machine and the images are such as it knows; the pyramid's always.

    transparent: whether the files are; laid over a background they have 1 or 3 channels all the same.
    """
    alpha = transparent and channels in (2, 4)
    photo = (channels in (1, 3) or alpha) and weights.located("squeezenet") is not None
    found = features_of(["squeezenet"], None, channels, alpha=alpha, device=device)[0] if photo else []
    return [*found, PyramidFeatures()]
