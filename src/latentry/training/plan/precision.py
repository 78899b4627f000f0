"""Choose fp32 or bf16 by timing: bf16 is slower than fp32 on some processors and shapes."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from latentry.training.loop.stage import amp

TRIES = 3


def choose(work: Callable[[], Tensor], device: torch.device, asked: str) -> str:
    """`asked` unless it is `auto`: then the faster of fp32 and bf16 for a forward and backward pass of `work`.

    work: returns a scalar to differentiate; leaves gradients behind, which the caller clears.
    """
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    times = {precision: _time(work, device, precision) for precision in ("fp32", "bf16")}
    return min(times, key=lambda p: times[p])


def _time(work: Callable[[], Tensor], device: torch.device, precision: str) -> float:
    best = float("inf")
    for _ in range(TRIES):
        start = time.perf_counter()
        with amp(device, precision):
            loss = work()
        loss.float().backward()
        best = min(best, time.perf_counter() - start)
    return best
