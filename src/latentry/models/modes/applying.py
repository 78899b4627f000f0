"""Put a network, or the networks of a model, into a mode."""

from __future__ import annotations

import torch
from torch import nn

from latentry.models.model import Model
from latentry.models.modes.mode import PLAIN, Mode
from latentry.models.modes.packed import pack, unpack

MARK = "_latentry_mode"


def mode_of(network: nn.Module) -> Mode:
    """The mode that a network is in."""
    found: Mode = network.__dict__.get(MARK, PLAIN)
    return found


def apply(mode: Mode, network: nn.Module) -> None:
    """See `Mode.apply`."""
    before = mode_of(network)
    if mode == before:
        return
    unpack(network)
    if mode.channels_last != before.channels_last:
        format = torch.channels_last if mode.channels_last else torch.contiguous_format
        network.to(memory_format=format)  # type: ignore[call-overload]
    if mode.frozen:
        pack(network, mode)
    network.__dict__[MARK] = mode


def apply_to_model(mode: Mode, model: Model) -> None:
    """The denoiser's UNet in a mode; what stands around it, conditions and first stage, the same in fp32."""
    around = mode.but(precision="fp32")
    around.apply(model.autoencoder)
    if model.denoiser is not None:
        mode.apply(model.denoiser.unet)
        around.apply(model.denoiser.conditioners)
        around.apply(model.denoiser.projections)
