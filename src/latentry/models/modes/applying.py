"""Put a network, or the networks of a model, into a mode."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from latentry.models.model import Model
from latentry.models.modes.mode import PLAIN, Mode
from latentry.models.modes.packed import READY, pack, unpack
from latentry.models.modes.regions import compile_regions, plain_regions

MARK = "_latentry_mode"
Report = Callable[[str], None]


def _silent(_: str) -> None:
    return None


def mode_of(network: nn.Module) -> Mode:
    """The mode that a network is in."""
    found: Mode = network.__dict__.get(MARK, PLAIN)
    return found


def apply(mode: Mode, network: nn.Module, report: Report = _silent) -> None:
    """See `Mode.apply`. report: called with a line where it cannot be compiled."""
    before = mode_of(network)
    if mode == before:
        return
    plain_regions(network)
    unpack(network)
    if mode.channels_last != before.channels_last:
        format = torch.channels_last if mode.channels_last else torch.contiguous_format
        network.to(memory_format=format)  # type: ignore[call-overload]
    if mode.frozen:
        pack(network, mode)
    if mode.compile:
        compile_regions(network, mode, next(network.parameters()).device, report)
    network.__dict__[MARK] = mode


def forget_others(network: nn.Module) -> None:
    """Let go of what was made for modes that the network is not in."""
    for module in network.modules():
        ready = module.__dict__.get(READY, {})
        for of, made in list(ready.items()):
            if not any(made is other for other in module.__dict__.values()):
                del ready[of]


def apply_to_model(mode: Mode, model: Model, report: Report = _silent) -> None:
    """The denoiser's UNet in a mode; what stands around it, conditions and first stage, the same in fp32."""
    around = mode.but(precision="fp32", compile=False)
    around.apply(model.autoencoder)
    if model.denoiser is not None:
        apply(mode, model.denoiser.unet, report)
        around.apply(model.denoiser.conditioners)
        around.apply(model.denoiser.projections)
