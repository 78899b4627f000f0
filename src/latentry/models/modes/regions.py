"""Compile a network block by block: each block takes seconds where the whole takes minutes, and alike ones share."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterator
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from latentry.models.modes.compiling import from_compiler, no_compiler, reason
from latentry.models.modes.packed import READY
from latentry.nn.attention import Signals
from latentry.nn.unet_parts import UNetBlock, UNetMiddle

MANY = 64
"""Sizes and batches a block is compiled for, before it is left as it is."""


def compile_regions(network: nn.Module, of: Hashable, device: torch.device, report: Callable[[str], None]) -> None:
    """Compile the blocks of a UNet. Where there is no compiler, or it fails, one line is reported, and they stay.

    of: the mode, to which a network may come back without compiling again.
    """
    missing = no_compiler(device)
    if missing:
        report(f"mode: not compiled, runs as it is ({missing})")
        return
    warnings.filterwarnings("ignore", message="TensorFloat32 tensor cores")
    torch._dynamo.config.recompile_limit = MANY
    for order, block in enumerate(regions(network)):
        ready = block.__dict__.setdefault(READY, {})
        ready.setdefault(of, Region(block, device, report, first=order == 0))
        block.__dict__["forward"] = ready[of]


def plain_regions(network: nn.Module) -> None:
    """Undo `compile_regions`."""
    for block in regions(network):
        block.__dict__.pop("forward", None)


def regions(network: nn.Module) -> Iterator[nn.Module]:
    """The blocks that are compiled each by itself."""
    return (module for module in network.modules() if isinstance(module, UNetBlock | UNetMiddle))


class Region:
    """The compiled `forward` of a block; the plain one where gradients are needed or attention is edited.

    first: whether a call of the network begins here. Outputs of CUDA graphs lie in memory of their own until the next
    step of the whole network is said to begin: without that the next block would write over those the way up needs.
    """

    def __init__(
        self, block: nn.Module, device: torch.device, report: Callable[[str], None], *, first: bool = False
    ) -> None:
        self.plain: Callable[..., Tensor] = MethodType(type(block).forward, block)
        self.report = report
        graphs = device.type == "cuda"
        self.begins = graphs and first
        how: dict[str, Any] = {"mode": "reduce-overhead"} if graphs else {}
        self.compiled: Callable[..., Tensor] | None = torch.compile(MethodType(_own(type(block).forward), block), **how)

    def __call__(self, x: Tensor, signals: Signals) -> Tensor:
        if self.compiled is None or torch.is_grad_enabled() or signals.edits:
            return self.plain(x, signals)
        try:
            if self.begins:
                torch.compiler.cudagraph_mark_step_begin()
            return self.compiled(x, signals)
        except Exception as error:
            if not from_compiler(error):
                raise
            self.compiled = None
            self.report(f"mode: a block is not compiled, runs as it is ({reason(error)})")
        return self.plain(x, signals)


def _own(function: Any) -> FunctionType:
    """A copy with code of its own, so that what is compiled for one block is not looked through for another."""
    code, names = function.__code__.replace(), function.__globals__
    copy = FunctionType(code, names, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy
