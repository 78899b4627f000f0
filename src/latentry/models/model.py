"""The stages of a model together, as tasks and the pipeline use them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentry import rng
from latentry.errors import UsageError
from latentry.models.autoencoder import Autoencoder
from latentry.models.classifier import LatentClassifier
from latentry.models.config import ModelConfig, check_size
from latentry.models.latent_diffusion import LatentDiffusion

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
    def encode(self, images: Tensor, *, sample: int | None = None) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] to scaled latents (B, c, h, w) on the model's device; a few at a time.

        The posterior's mean (KL) or the pre-quantised latent (VQ); sample=seed draws from the posterior instead.
        Raises UsageError for images of other channels, and of sides that do not fit.
        """
        channels = self.config.data.channels
        if images.ndim != 4 or images.shape[1] != channels:
            shape = "x".join(map(str, images.shape))
            raise UsageError(f"encode: a tensor of {shape}; this model takes (B, {channels}, H, W) in [-1, 1]")
        problem = check_size((images.shape[-2], images.shape[-1]), self.config.autoencoder, None)
        if problem:
            raise UsageError(f"encode: {problem}")
        parts = images.split(AT_ONCE)
        moments = torch.cat([self.autoencoder.moments(part.to(self.device)) for part in parts])
        if sample is None:
            return self.autoencoder.latent(moments)
        shape_of_one = (self.autoencoder.latent_channels, *moments.shape[2:])
        noise = torch.cat([rng.normal(sample + i, "posterior", [0], 0, shape_of_one) for i in range(len(images))])
        return self.autoencoder.latent(moments, noise.to(self.device))

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Scaled latents (B, c, h, w) to images (B, C, H, W) on the CPU, about [-1, 1], not clamped; a few at once."""
        return torch.cat([self.autoencoder.decode(part.to(self.device)) for part in z.split(AT_ONCE)]).cpu()
