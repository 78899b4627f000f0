"""Features of the first stage's own encoder: for images of any channels, bits and domain."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

GRID = 4
BATCH = 32


class EncoderFeatures:
    """Mean and deviation of each latent channel in each cell of a 4x4 grid: (B, 32 c) for latents of c channels.

    A cell's mean says what is where, its deviation how much detail is there: blur lowers it, noise raises it.
    encode: images (B, C, H, W) in [-1, 1] to scaled latents (B, c, h, w). digest: SHA-256 of its weights. grid: cells
    a side; latents that are smaller have a cell for each pixel, and then means alone say something.
    """

    def __init__(
        self, encode: Callable[[Tensor], Tensor], digest: str, kind: str = "own first stage", grid: int = GRID
    ) -> None:
        self.encode, self.digest, self.kind, self.grid = encode, digest, kind, grid
        self.preprocessing = f"as trained on; mean and deviation of each latent channel in {grid}x{grid} cells"

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """(B, D) of images (B, C, H, W) in [0, 1], or uint8."""
        x = images.float() / 255 if not images.is_floating_point() else images.float()
        return torch.cat([self._cells(self.encode(part * 2 - 1)) for part in x.split(BATCH)])

    def _cells(self, latents: Tensor) -> Tensor:
        z = latents.double()
        size = (min(self.grid, z.shape[2]), min(self.grid, z.shape[3]))
        mean = functional.adaptive_avg_pool2d(z, size)
        square = functional.adaptive_avg_pool2d(z.square(), size)
        deviation = (square - mean.square()).clamp(min=0).sqrt()
        return torch.cat((mean.flatten(1), deviation.flatten(1)), 1).float()
