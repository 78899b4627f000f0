"""Inception's features, by which FID, KID and Inception Score are defined: the published weights and resizing."""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

from latentry.errors import UsageError, did_you_mean
from latentry.metrics.features.resizing import RESIZINGS
from latentry.metrics.features.source import rgb
from latentry.nn import weights
from latentry.nn.inception.network import Inception

SIDE, BATCH = 299, 32
PUBLISHED = "torch-fidelity's weights-inception-2015-12-05-6726825d.pth, or pytorch-fid's of the same numbers"
INSTEAD = (
    "Without it FID, KID and Inception Score are left out; FD, KD, precision, recall, density and coverage in features "
    "of SqueezeNet or of the first stage, PSNR, SSIM and LPIPS go on."
)


class InceptionFeatures(nn.Module):
    """The pool features of the Inception network of 2015, (B, 2048).

    path: the weight file, or None to look it up and download it once (95 MB). resizing: a key of `RESIZINGS`: the
    papers' `tensorflow1`, or another, such as clean-fid's `bicubic`; such numbers do not compare with the papers'.
    """

    kind = "inception"

    def __init__(self, path: str | os.PathLike[str] | None = None, resizing: str = "tensorflow1") -> None:
        super().__init__()
        if resizing not in RESIZINGS:
            known = ", ".join(RESIZINGS)
            raise UsageError(f'resizing: no "{resizing}"; known: {known}{did_you_mean(resizing, RESIZINGS)}.')
        self.resizing = resizing
        self.preprocessing = f"8 bits, {resizing} to {SIDE}x{SIDE}, no crop, (x - 128) / 128"
        self.net = Inception()
        file = weights.find(self.kind, path, INSTEAD)
        weights.fill(self.net, weights.read(file), file, "Inception of FID", PUBLISHED)
        self.digest = weights.sha256(file)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """(B, 2048) of images (B, 1 or 3, H, W), uint8 or in [0, 1]; the latter are rounded to 8 bits, as files are."""
        return torch.cat([self.net(self.prepared(part)) for part in images.split(BATCH)])

    @torch.no_grad()
    def logits(self, features: Tensor) -> Tensor:
        """What Inception Score is computed from, (N, 1008), of features (N, 2048): class scores without bias."""
        return self.net.logits(features)

    def prepared(self, images: Tensor) -> Tensor:
        """What the network is fed, (B, 3, 299, 299) in [-1, 1), of images (B, 1 or 3, H, W), uint8 or in [0, 1]."""
        x = rgb(images, self.kind)
        x = (x.float() * 255).round().clamp(0, 255) if x.is_floating_point() else x
        return (RESIZINGS[self.resizing](x, SIDE, SIDE) - 128) / 128
