"""The first stage: images to latents and back (Rombach et al. 2022, section 3.1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from latentry.errors import UsageError
from latentry.models.config import AutoencoderOptions
from latentry.nn.coder import Decoder, Encoder
from latentry.nn.posterior import Gaussian
from latentry.nn.quantise import Quantised, VectorQuantiser


class Autoencoder(nn.Module):
    """Encoder, regularised latent, decoder, and the scale that makes latents unit deviation.

    Of kind `identity` it has the scale alone.

    Latents handed to and taken from a denoiser are scaled: z = (latent - latent_shift) * latent_scale.
    """

    latent_scale: Tensor
    latent_shift: Tensor

    def __init__(self, options: AutoencoderOptions, image_channels: int, *, checkpoint: bool = False) -> None:
        super().__init__()
        o = options
        self.options, self.image_channels = options, image_channels
        self.latent_channels = o.latent_channels or o.z_channels
        self.quantiser = VectorQuantiser(o.codes, self.latent_channels) if o.kind == "vq" else None
        self.register_buffer("latent_scale", torch.ones(()))
        self.register_buffer("latent_shift", torch.zeros(self.latent_channels))
        if o.kind == "identity":
            if self.latent_channels != image_channels:
                raise UsageError(
                    f"autoencoder: kind identity with z_channels {self.latent_channels}; the images have "
                    f"{image_channels} channels, and so has their latent. Set z_channels to {image_channels}."
                )
            return
        shape: dict[str, Any] = {
            "checkpoint": checkpoint,
            "channels": o.channels,
            "multipliers": o.multipliers,
            "blocks": o.blocks,
            "attention": o.attention,
            "middle_attention": o.middle_attention,
            "norm_groups": o.norm_groups,
            "dropout": o.dropout,
            "patch": o.patch,
        }
        double = 2 if o.kind == "kl" else 1
        self.encoder = Encoder(in_channels=image_channels, out_channels=double * o.z_channels, **shape)
        self.decoder = Decoder(in_channels=o.z_channels, out_channels=image_channels, **shape)
        self.quant_conv = nn.Conv2d(double * o.z_channels, double * self.latent_channels, 1)
        self.post_quant_conv = nn.Conv2d(self.latent_channels, o.z_channels, 1)

    @property
    def factor(self) -> int:
        """Downsampling per side."""
        return self.options.factor

    def moments(self, x: Tensor) -> Tensor:
        """What is cached: KL (B, 2c, h, w) mean and log-variance; VQ (B, c, h, w) before quantisation; identity: x.

        x: images (B, C, H, W) in [-1, 1], sides multiples of the factor.
        """
        if self.options.kind == "identity":
            return x
        out: Tensor = self.quant_conv(self.encoder(x))
        return out

    def posterior(self, moments: Tensor) -> Gaussian:
        """The KL posterior of moments."""
        return Gaussian(moments)

    def quantise(self, moments: Tensor) -> Quantised:
        """Nearest codes (VQ only), with the straight-through gradient and the codebook loss."""
        assert self.quantiser is not None
        return self.quantiser(moments)

    def latent(self, moments: Tensor, noise: Tensor | None = None) -> Tensor:
        """Scaled latents z (B, c, h, w): posterior mean, or mean + std * noise; VQ: the pre-quantised latent."""
        return (self.unscaled(moments, noise) - self.latent_shift.view(-1, 1, 1)) * self.latent_scale

    def unscaled(self, moments: Tensor, noise: Tensor | None = None) -> Tensor:
        """As `latent`, without the scale: the input of conditions that pass through the first stage."""
        if self.options.kind != "kl":
            return moments
        posterior = self.posterior(moments)
        return posterior.mean if noise is None else posterior.sample(noise)

    def encode(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        """Images (B, C, H, W) in [-1, 1] to scaled latents (B, c, h, w)."""
        return self.latent(self.moments(x), noise)

    def features(self, latent: Tensor) -> Tensor:
        """Unscaled (quantised) latents to the decoder's last features, before `decoder.conv_out`."""
        return self.decoder.features(self.post_quant_conv(latent))

    def decode(self, z: Tensor) -> Tensor:
        """Scaled latents (B, c, h, w) to images (B, C, H, W), about [-1, 1], not clamped."""
        latent = self.unscaled_latent(z)
        if self.options.kind == "identity":
            return latent
        image: Tensor = self.decoder.conv_out(self.features(latent))
        return image

    def unscaled_latent(self, z: Tensor) -> Tensor:
        """Scaled latents to those that `features` takes: without scale, VQ: the nearest codes."""
        latent = z / self.latent_scale + self.latent_shift.view(-1, 1, 1)
        if self.quantiser is not None:
            code = self.quantiser.lookup(self.quantiser.nearest(latent))
            latent = code + (latent - latent.detach())  # the code itself, with the gradient of the latent
        return latent
