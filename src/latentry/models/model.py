"""The stages of a model together, as tasks and the pipeline use them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from latentry import rng
from latentry.errors import UsageError
from latentry.models import tiles
from latentry.models.autoencoder import Autoencoder
from latentry.models.classifier import LatentClassifier
from latentry.models.config import ModelConfig, check_size
from latentry.models.latent_diffusion import LatentDiffusion
from latentry.nn.tiled.plane import Source, Whole

AT_ONCE = 8  # images encoded or decoded


@dataclass(frozen=True)
class Model:
    """What `model.yaml` says, and the networks.

    denoiser: None where only a first stage was trained. classifier: of noisy latents, where there is one.
    """

    config: ModelConfig
    autoencoder: Autoencoder
    denoiser: LatentDiffusion | None
    classifier: LatentClassifier | None = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.autoencoder.latent_scale.device

    def to(self, device: str | torch.device) -> None:
        """Move the weights."""
        for module in (self.autoencoder, self.denoiser, self.classifier):
            if module is not None:
                module.to(device)

    @torch.no_grad()
    def encode(self, images: Tensor, *, sample: int | None = None, tiled: bool | None = None) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] to scaled latents (B, c, h, w) on the model's device; a few at a time.

        The posterior's mean (KL) or the pre-quantised latent (VQ); sample=seed draws from the posterior instead.
        tiled: in windows, in little memory; None: where an image is too large for it at once. The result is the same.
        Raises UsageError for images of other channels, and of sides that do not fit.
        """
        channels = self.config.data.channels
        if images.ndim != 4 or images.shape[1] != channels:
            shape = "x".join(map(str, images.shape))
            raise UsageError(f"encode: a tensor of {shape}; this model takes (B, {channels}, H, W) in [-1, 1]")
        problem = check_size((images.shape[-2], images.shape[-1]), self.config.autoencoder, None)
        if problem:
            raise UsageError(f"encode: {problem}")
        if self._in_tiles(tiled, images.shape[-2] * images.shape[-1]):
            moments = torch.cat([tiles.moments(self.autoencoder, Whole(one[None])) for one in images]).to(self.device)
        else:
            parts = images.split(AT_ONCE)
            moments = torch.cat([self.autoencoder.moments(part.to(self.device)) for part in parts])
        if sample is None:
            return self.autoencoder.latent(moments)
        shape_of_one = (self.autoencoder.latent_channels, *moments.shape[2:])
        noise = torch.cat([rng.normal(sample + i, "posterior", [0], 0, shape_of_one) for i in range(len(images))])
        return self.autoencoder.latent(moments, noise.to(self.device))

    @torch.no_grad()
    def encode_source(self, image: Source, folder: Path | None = None) -> Tensor:
        """As `encode` of one image that is read by windows. folder: of temporary files."""
        return self.autoencoder.latent(tiles.moments(self.autoencoder, image, folder).to(self.device))

    @torch.no_grad()
    def decode(self, z: Tensor, *, tiled: bool | None = None) -> Tensor:
        """Scaled latents (B, c, h, w) to images (B, C, H, W) on the CPU, about [-1, 1], not clamped; a few at once.

        tiled: as of `encode`.
        """
        if self._in_tiles(tiled, z.shape[-2] * z.shape[-1] * self.autoencoder.factor**2):
            return torch.cat([tiles.gathered(tiles.decode(self.autoencoder, one[None])) for one in z])
        return torch.cat([self.autoencoder.decode(part.to(self.device)) for part in z.split(AT_ONCE)]).cpu()

    def _in_tiles(self, tiled: bool | None, pixels: int) -> bool:
        return tiles.in_tiles(self.autoencoder, pixels) if tiled is None else tiled
