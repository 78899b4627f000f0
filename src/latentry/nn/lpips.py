"""LPIPS: how different two images look, from the features of an image classifier (Zhang et al. 2018)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentry.devices import autocast
from latentry.errors import UsageError
from latentry.nn import weights

SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
EPS = 1e-10


class Fire(nn.Module):
    """SqueezeNet's module: a narrow 1x1 convolution, then 1x1 and 3x3 ones beside each other."""

    def __init__(self, in_channels: int, narrow: int, wide: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, narrow, 1)
        self.expand1x1 = nn.Conv2d(narrow, wide, 1)
        self.expand3x3 = nn.Conv2d(narrow, wide, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))  # (B, narrow, H, W)
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], dim=1)  # (B, 2 wide, H, W)


class Backbone(nn.Module):
    """Layers of a classifier, and after which of them its features are taken.

    features: under the names of torchvision's weight files. taps: layer numbers. widths: channels at each tap.
    smallest: side of the smallest image that leaves a pixel at the last tap.
    """

    def __init__(self, features: nn.Sequential, taps: Sequence[int], widths: Sequence[int], smallest: int) -> None:
        super().__init__()
        self.features, self.taps, self.widths, self.smallest = features, tuple(taps), tuple(widths), smallest

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features at each tap, (B, width, h, w), of normalised RGB images (B, 3, H, W)."""
        features = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.taps:
                features.append(x)
        return features


def squeezenet() -> Backbone:
    """SqueezeNet 1.1 without its classifier."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 3, stride=2), nn.ReLU()]
    layers += [_pool(), Fire(64, 16, 64), Fire(128, 16, 64)]
    layers += [_pool(), Fire(128, 32, 128), Fire(256, 32, 128)]
    layers += [_pool(), Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256)]
    return Backbone(nn.Sequential(*layers), (1, 4, 7, 9, 10, 11, 12), (64, 128, 256, 384, 384, 512, 512), 17)


def vgg16() -> Backbone:
    """VGG16 without its classifier, up to relu5_3."""
    layers: list[nn.Module] = []
    width = 3
    for repeats, wider in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
        layers += [nn.MaxPool2d(2)] if layers else []
        for _ in range(repeats):
            layers += [nn.Conv2d(width, wider, 3, padding=1), nn.ReLU()]
            width = wider
    return Backbone(nn.Sequential(*layers), (3, 8, 15, 22, 29), (64, 128, 256, 512, 512), 16)


NETS = {"squeezenet": squeezenet, "vgg16": vgg16}


class LPIPS(nn.Module):
    """Distance of two batches of images; 0 for equal ones, about 1 for unlike ones. Always in evaluation mode, fixed.

    net: `squeezenet` or `vgg16`. Weights are as initialised: use `load` for the published ones.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, net: Literal["squeezenet", "vgg16"]) -> None:
        super().__init__()
        self.net = NETS[net]()
        self.heads = nn.ParameterList(torch.zeros(1, width, 1, 1) for width in self.net.widths)
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1))
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> LPIPS:
        """Stays in evaluation mode, whatever the modules around it do."""
        return super().train(False)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """LPIPS (B,) of RGB images x, y (B, 3, H, W) in [-1, 1], in float32 under any autocast."""
        if min(x.shape[-2:]) < self.net.smallest:
            raise UsageError(
                f"perceptual: images of {x.shape[-2]}x{x.shape[-1]} are too small for the network; sides must be at "
                f"least {self.net.smallest}. Set `perceptual: none`."
            )
        with autocast(x.device, "fp32"):
            features = [self.net(self._normalise(image)) for image in (x, y)]
            total = x.new_zeros(x.shape[0], dtype=self.shift.dtype)
            for a, b, head in zip(*features, self.heads):
                difference = (_unit(a) - _unit(b)).square()  # (B, width, h, w)
                total = total + F.conv2d(difference, head).mean(dim=(1, 2, 3))
            return total

    def _normalise(self, x: Tensor) -> Tensor:
        x = (x.to(self.shift.dtype) - self.shift) / self.scale
        # Channels last is 1.5 times faster on the CPU, forward and backward (SqueezeNet, 16 images of 64x64).
        return x.contiguous(memory_format=torch.channels_last) if x.device.type == "cpu" else x


def load(
    net: Literal["squeezenet", "vgg16"],
    backbone: str | os.PathLike[str] | None = None,
    heads: str | os.PathLike[str] | None = None,
) -> LPIPS:
    """LPIPS with the published weights: torchvision's of the network, richzhang/PerceptualSimilarity v0.1 of the heads.

    backbone, heads: paths of the files; without them they are looked up and downloaded (`weights.find`).
    """
    model = LPIPS(net)
    path = weights.find(net, backbone)
    weights.fill(model.net, weights.read(path), path)
    path = weights.find(f"{net} heads", heads)
    stored = weights.read(path)
    weights.fill(model.heads, {k.removeprefix("lin").split(".")[0]: v for k, v in stored.items()}, path)
    return model


def to_rgb(x: Tensor, bands: Sequence[int] | None = None, background: Sequence[float] | None = None) -> Tensor:
    """Images (B, C, H, W) in [-1, 1] as RGB (B, 3, H, W).

    bands: the three channels to take. Without: grey is repeated, RGB is kept, of RGBA the colours are taken, laid over
    `background` (three numbers in [-1, 1]) by alpha where `background` is set.
    """
    if bands is not None:
        return x[:, list(bands)]
    channels = x.shape[1]
    if channels == 1:
        return x.expand(-1, 3, -1, -1)
    if channels == 4 and background is not None:
        under = x.new_tensor(background).view(1, 3, 1, 1)
        return under + (x[:, 3:] + 1.0) / 2.0 * (x[:, :3] - under)
    if channels in (3, 4):
        return x[:, :3]
    raise UsageError(
        f"perceptual: images of {channels} channels; give the three `bands` to show, or `perceptual: none`."
    )


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(3, stride=2, ceil_mode=True)


def _unit(x: Tensor) -> Tensor:
    return x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + EPS)
