"""Features of SqueezeNet 1.1 (ImageNet), and a plain judge of labels by the nearest neighbours in them."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentry.metrics.nearest import distances
from latentry.nn import lpips, weights

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
SIDE = 128
BATCH = 64
NEIGHBOURS = 10


class SqueezeNetFeatures(nn.Module):
    """Mean and maximum over space of the last of SqueezeNet's features, from images brought to 128x128.

    path: the weight file (torchvision's names), or None to look it up and download it once.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        self.net = lpips.squeezenet()
        file = weights.find("squeezenet", path)
        weights.fill(self.net, weights.read(file), file, "SqueezeNet 1.1")
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(B, 1024) of images (B, 3, H, W) in [0, 1]; first half means, second half maxima."""
        parts = [self.last(part) for part in images.split(BATCH)]
        return torch.cat([torch.cat((last.mean((2, 3)), last.amax((2, 3))), 1) for last in parts])

    def last(self, images: Tensor) -> Tensor:
        """The input of the classifier: (B, 512, 7, 7) of images (B, 3, H, W) in [0, 1]."""
        x = images.float()
        if x.shape[-2:] != (SIDE, SIDE):
            x = functional.interpolate(x, size=(SIDE, SIDE), mode="bicubic", antialias=True).clamp(0, 1)
        x = (x - x.new_tensor(MEAN).view(1, 3, 1, 1)) / x.new_tensor(DEVIATION).view(1, 3, 1, 1)
        return self.net(x)[-1]


def vote(queries: Tensor, gallery: Tensor, labels: Sequence[int], k: int = NEIGHBOURS) -> list[int]:
    """The label most frequent among the k nearest (by angle) of the gallery, for each query; ties go to the nearest.

    queries: (Q, D). gallery: (N, D). labels: of the gallery, N whole numbers >= 0.
    """
    distance = distances(functional.normalize(queries, dim=1), functional.normalize(gallery, dim=1))
    near = distance.topk(min(k, len(labels)), largest=False).indices  # (Q, k), nearest first
    neighbours = torch.tensor(labels)[near]
    votes = functional.one_hot(neighbours, max(labels) + 1).double()
    earlier = 0.5 ** torch.arange(1, neighbours.shape[1] + 1, dtype=torch.float64)  # all together less than one vote
    return [int(label) for label in (votes * (1 + earlier[None, :, None])).sum(1).argmax(1)]
