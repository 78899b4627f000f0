"""A model of LDM-4's size with random weights, for comparisons that need no pictures. Not a comparison itself.

The denoiser has 274M parameters (224 channels times 1, 2, 3, 4; attention in heads of 32 at factors 2, 4, 8), the first
stage is VQ with f = 4; images 256x256, latents 3x64x64. `small` is the same in a size for tests.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from latentry import __version__, config
from latentry.models.autoencoder import Autoencoder
from latentry.models.build import build_denoiser
from latentry.models.config import ModelConfig
from latentry.pipeline import Pipeline

WHOLE: dict[str, Any] = {
    "size": 256,
    "autoencoder": {"channels": 128, "multipliers": [1, 2, 4], "blocks": 2, "codes": 8192, "norm_groups": 32},
    "unet": {"channels": 224, "multipliers": [1, 2, 3, 4], "attention": [8, 4, 2], "norm_groups": 32},
}
SMALL: dict[str, Any] = {
    "size": 32,
    "autoencoder": {"channels": 8, "multipliers": [1, 2, 2], "blocks": 1, "codes": 64, "norm_groups": 4},
    "unet": {"channels": 32, "multipliers": [1, 2], "attention": [2], "blocks": 1, "norm_groups": 8},
}


def pipeline(device: torch.device, small: bool = False) -> Pipeline:
    """The model, asked for nothing but images. No weight is zero: zeros can be quick to multiply."""
    shape = SMALL if small else WHOLE
    tree = {
        "name": "ldm-4, small" if small else "ldm-4",
        "version": __version__,
        "data": {"size": [shape["size"]] * 2, "channels": 3},
        "autoencoder": {"kind": "vq", "z_channels": 3, **shape["autoencoder"]},
        "diffusion": {"unet": {"head_channels": 32, "transformer_depth": 0, **shape["unet"]}},
    }
    made = config.validate(ModelConfig, tree, "ldm-4")
    torch.manual_seed(0)
    with device:
        first = Autoencoder(made.autoencoder, 3)
        denoiser = build_denoiser(made, {})
    for network in (first, denoiser):
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.02)
    return Pipeline(made, first, denoiser).to(device)
