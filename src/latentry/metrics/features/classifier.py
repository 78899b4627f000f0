"""Features of the classifiers that LPIPS knows: mean and maximum over space of their last layer."""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentry.metrics.features.source import rgb, unit
from latentry.nn import lpips, weights

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
BATCH = 64


class ClassifierFeatures(nn.Module):
    """Mean and maximum over space of the last features of an ImageNet classifier, from images brought to one side.

    kind: a key of `lpips.NETS`. network: its name in words. side: of the square that images are brought to.
    path: the weight file (torchvision's names), or None to look it up and download it once.
    """

    def __init__(self, kind: str, network: str, side: int, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        self.kind, self.side = kind, side
        self.preprocessing = f"bicubic to {side}x{side} with antialiasing, no crop, ImageNet's mean and deviation"
        self.net = lpips.NETS[kind]()
        instead = f"Without it no metric in features of {network} is measured; other features and PSNR, SSIM go on."
        file = weights.find(kind, path, instead)
        weights.fill(self.net, weights.read(file), file, network)
        self.digest = weights.sha256(file)
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(B, D) of images (B, 1 or 3, H, W) in [0, 1], or uint8; first half means, second half maxima."""
        parts = [self.last(part) for part in images.split(BATCH)]
        return torch.cat([torch.cat((last.mean((2, 3)), last.amax((2, 3))), 1) for last in parts])

    def last(self, images: Tensor) -> Tensor:
        """The last of the features, (B, C, h, w), of images (B, 1 or 3, H, W) in [0, 1], or uint8."""
        x, size = unit(rgb(images, self.kind)), (self.side, self.side)
        if x.shape[-2:] != size:
            x = functional.interpolate(x, size=size, mode="bicubic", antialias=True).clamp(0, 1)
        x = (x - x.new_tensor(MEAN).view(1, 3, 1, 1)) / x.new_tensor(DEVIATION).view(1, 3, 1, 1)
        return self.net(x)[-1]


class SqueezeNetFeatures(ClassifierFeatures):
    """SqueezeNet 1.1 (ImageNet), (B, 1024) of images brought to 128x128; 5 MB of weights."""

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__("squeezenet", "SqueezeNet 1.1", 128, path)


class VGG16Features(ClassifierFeatures):
    """VGG16 (ImageNet), (B, 1024) of images brought to 224x224; 528 MB of weights."""

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__("vgg16", "VGG16", 224, path)
