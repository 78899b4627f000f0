"""Put the networks of a model into a mode."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from latentry.models.model import Model
from latentry.models.modes.mode import Mode
from latentry.models.modes.packed import READY

Report = Callable[[str], None]


def _silent(_: str) -> None:
    return None


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
        mode.apply(model.denoiser.unet, report)
        around.apply(model.denoiser.conditioners)
        around.apply(model.denoiser.projections)
