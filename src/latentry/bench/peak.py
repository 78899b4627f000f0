"""What the hardware can do: two large products, timed beside a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch.nn import functional

from latentry.timing import Times

SIDES = {"cuda": 8192}
"""Of the matrices, by kind of device."""
CHANNELS, SIDE, BATCHES = 256, 64, {"cuda": 64}
"""Of the convolution's input and output, and how many there are, by kind of device."""
OTHER_SIDE, OTHER_BATCH = 1024, 1
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def products(device: torch.device, precision: str) -> dict[str, tuple[Callable[[], object], int]]:
    """By name (`matmul`, `conv`): a large product in a precision, and its FLOPs by the textbook."""
    side, batch = SIDES.get(device.type, OTHER_SIDE), BATCHES.get(device.type, OTHER_BATCH)
    dtype = DTYPES[precision]
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    x = torch.randn(batch, CHANNELS, SIDE, SIDE, device=device, dtype=dtype)
    w = torch.randn(CHANNELS, CHANNELS, 3, 3, device=device, dtype=dtype)
    x, w = (one.contiguous(memory_format=torch.channels_last) for one in (x, w))

    @torch.no_grad()
    def matmul() -> object:
        return a @ b

    @torch.no_grad()
    def conv() -> object:
        return functional.conv2d(x, w, padding=1)

    return {"matmul": (matmul, 2 * side**3), "conv": (conv, 2 * batch * SIDE**2 * CHANNELS**2 * 9)}


def reached(flops_of: Mapping[str, int], times: Mapping[str, Times]) -> dict[str, float]:
    """FLOP/s by product."""
    return {name: flops_of[name] / times[name].median for name in flops_of}
