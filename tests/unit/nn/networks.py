"""Small networks whose zero-initialised parts have been filled, so that every path shows."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import nn

from latentry.nn.unet import UNet

Module = TypeVar("Module", bound=nn.Module)


def filled(module: Module, seed: int = 0) -> Module:
    """The same module with random parameters, and nothing left at zero or one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(noise * parameter[0].numel() ** -0.5)
            else:
                parameter.copy_(0.2 * noise + name.endswith("weight"))
    return module.eval()


def small_unet(**changes: Any) -> UNet:
    """A UNet of three levels with a context of 12 channels; `changes` replaces arguments."""
    arguments: dict[str, Any] = {
        "in_channels": 3,
        "out_channels": 3,
        "channels": 8,
        "multipliers": (1, 2, 2),
        "blocks": 1,
        "attention": (2, 4),
        "head_channels": 4,
        "norm_groups": 4,
        "transformer_depth": 1,
        "context_channels": 12,
    }
    return filled(UNet(**(arguments | changes)))


PLAIN: dict[str, Any] = {"transformer_depth": 0, "context_channels": None}


def normal(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
