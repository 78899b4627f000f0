"""Layers in the form in which a CPU trains them fastest: the same values to rounding, from the same weights.

Only where gradients of the weights are taken, in fp32 and not compiled: what a model draws does not change by these.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

ROWS, PIXELS = 64, 512
"""Of a matrix product, and of a batch of maps, from which on another form is worth its preparation."""


class Linear(nn.Linear):
    """A linear layer, see `linear`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x (..., in), weight (out, in), bias (out,) -> (..., out); by oneDNN where MKL is slow."""
    if _trains(x, weight) and x.numel() >= ROWS * x.shape[-1] and mkl_is_slow():
        result: Tensor = _Linear.apply(x.reshape(-1, x.shape[-1]), weight, bias)  # type: ignore[no-untyped-call]
        return result.view(*x.shape[:-1], len(weight))
    return F.linear(x, weight, bias)


def doubled(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """conv, 3x3, of x (B, C, H, W) with each pixel taken four times -> (B, C', 2H, 2W).

    Of such nine pixels at most four differ, so sums of the weights make a transposed convolution with 4/9 of the work.
    """
    if _trains(x, conv.weight) and x.numel() >= PIXELS * x.shape[1]:
        return F.conv_transpose2d(x, _summed(conv.weight).transpose(0, 1), conv.bias, stride=2, padding=1)
    result: Tensor = conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
    return result


def _summed(weight: Tensor) -> Tensor:
    """(O, C, 3, 3) -> (O, C, 4, 4): what each input pixel gives to the 4x4 output pixels around it."""
    for axis in (2, 3):
        turned, none = weight.flip(axis), torch.zeros_like(weight.narrow(axis, 0, 1))
        weight = torch.cat([turned, none], axis) + torch.cat([none, turned], axis)
    return weight


def _trains(x: Tensor, weight: Tensor) -> bool:
    """Whether this is a training in fp32 on a CPU, not compiled."""
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and weight.requires_grad
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


@cache
def mkl_is_slow() -> bool:
    """Whether MKL takes narrower instructions than there are: on AMD's processors with AVX-512, at half the speed."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    try:
        return b"AuthenticAMD" in Path("/proc/cpuinfo").read_bytes()
    except OSError:
        return False


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (N, in) weight^T (in, out) + bias, by oneDNN."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return result


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        of_x = product(outer, weight.t()) if wanted[0] else None  # (N, in)
        of_weight = product(outer.t(), x.t()) if wanted[1] else None  # (out, in)
        return of_x, of_weight, outer.sum(0) if wanted[2] else None
