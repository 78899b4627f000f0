"""First weights of an autoencoder that is trained from nothing."""

from __future__ import annotations

import torch
from torch import nn

from latentry.models.autoencoder import Autoencoder
from latentry.nn.coder import CoderBlock

LOG_VARIANCE = -6.0
GAIN = 3**0.5


@torch.no_grad()
def initialise(model: Autoencoder) -> None:
    """Let the signal through from the first step on; colours are then learned several times sooner.

    Residual blocks begin as identities (last convolution zero). Convolutions on the path between them keep the
    variance (torch's default shrinks it to a third each time). The posterior begins narrow, log-variance -6, so that
    its noise does not bury the latent. The published code has none of these; weights that are loaded are not touched.
    """
    inside = set()
    for block in model.modules():
        if isinstance(block, CoderBlock):
            inside |= {block.conv1, block.conv2}
            nn.init.zeros_(block.conv2.weight)
            nn.init.zeros_(block.conv2.bias)  # type: ignore[arg-type]
    for conv in model.modules():
        if isinstance(conv, nn.Conv2d) and conv not in inside:
            conv.weight.mul_(GAIN)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    if model.options.kind == "kl":
        model.quant_conv.bias[model.latent_channels :] = LOG_VARIANCE  # type: ignore[index]
