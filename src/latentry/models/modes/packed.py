"""Convolutions and linear maps with weights prepacked for oneDNN (CPU), or kept in the precision of use (others).

The kernels choose their own layout of weights. Left to themselves they make it anew at every call; laid out once, a
step with a small batch takes about half the time. Gradients need the plain call, and get it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentry import devices
from latentry.models.modes import opaque

Kernel = Callable[[Tensor], Tensor]
METHODS = ("_conv_forward", "forward")
READY = "_latentry_ready"
"""In a module's `__dict__`: by mode what it was replaced by, so that two modes can be compared in turn."""
ANY_ROWS = "_latentry_any_rows"


def pack(network: nn.Module, dtype: torch.dtype, channels_last: bool) -> None:
    """Have the layers of a network compute with packed weights. They are packed when they are first needed."""
    for layer in _layers(network):
        kind = PackedConv if isinstance(layer, nn.Conv2d) else PackedLinear
        ready, of = layer.__dict__.setdefault(READY, {}), (dtype, channels_last)
        if of not in ready:
            ready[of] = kind(layer, dtype, channels_last, any_rows=ANY_ROWS in network.__dict__)
        layer.__dict__[kind.method] = ready[of]


def expect_any_rows(network: nn.Module) -> None:
    """Have layers that are packed from now on keep one packing for all batches of several rows.

    For whoever calls with another number of rows at nearly every step, where packing anew takes longer than a step of
    one image. Which rows come first then decides the layout, and with it, on some machines, the last bits.
    """
    network.__dict__[ANY_ROWS] = True


def unpack(network: nn.Module) -> None:
    """Undo `pack`."""
    for layer in _layers(network):
        for method in METHODS:
            if isinstance(layer.__dict__.get(method), Packed):
                del layer.__dict__[method]


def _layers(network: nn.Module) -> Iterator[nn.Conv2d | nn.Linear]:
    for module in network.modules():
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.padding_mode == "zeros"):
            yield module


class Packed:
    """Calls the kernel with packed weights; the plain method where gradients are needed.

    The weights are packed again where they have changed since, and for another number of rows; with any_rows only for
    one instead of several.
    """

    method = ""

    def __init__(self, layer: Any, dtype: torch.dtype, channels_last: bool, *, any_rows: bool = False) -> None:
        self.layer, self.dtype, self.most = layer, dtype, 2 if any_rows else None
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.plain: Callable[..., Tensor] = getattr(type(layer), self.method)
        self.of: tuple[Any, ...] | None = None
        self.kernel: Kernel
        self.number = opaque.number(self)

    def __call__(self, x: Tensor, *weights: Tensor | None) -> Tensor:
        if torch.is_grad_enabled():
            return self.plain(self.layer, x, *weights)
        if torch.compiler.is_compiling():
            return opaque.call(x, self.number)
        return self.now(x)

    def now(self, x: Tensor) -> Tensor:
        """The layer's result of x."""
        weight = self.layer.weight
        rows = x.shape[0] if self.most is None else min(x.shape[0], self.most)
        of = (id(weight), weight._version, weight.device, rows)
        if self.of != of:
            self.kernel = self.packed(x) if devices.prepacks(x.device, self.dtype) else self.kept()
            self.of = of
        return self.kernel(x)

    def rounded(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias in the precision of use."""
        bias = self.layer.bias
        return self.layer.weight.detach().to(self.dtype), None if bias is None else bias.detach().to(self.dtype)

    def packed(self, x: Tensor) -> Kernel:
        """The kernel with weights laid out for inputs such as x."""
        raise NotImplementedError

    def kept(self) -> Kernel:
        """The kernel with weights in the precision of use."""
        raise NotImplementedError

    def like(self, x: Tensor) -> Tensor:
        """See `opaque.Layer`."""
        raise NotImplementedError


class PackedConv(Packed):
    """Of a `Conv2d`."""

    method = "_conv_forward"

    def packed(self, x: Tensor) -> Kernel:
        weight, bias = self.rounded()
        padding, stride, dilation, groups = self._numbers()
        reorder: Callable[..., Tensor] = torch._C._nn.mkldnn_reorder_conv2d_weight
        packed = reorder(weight.to_mkldnn(), padding, stride, dilation, groups, list(x.shape))
        call = torch.ops.mkldnn._convolution_pointwise.default
        return lambda x: call(self._arranged(x), packed, bias, padding, stride, dilation, groups, "none", [], "")

    def kept(self) -> Kernel:
        weight, bias = self.rounded()
        weight = weight.contiguous(memory_format=self.format)
        return lambda x: self.plain(self.layer, self._arranged(x), weight, bias)

    def like(self, x: Tensor) -> Tensor:
        padding, stride, dilation, _ = self._numbers()
        size = [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, p, s, d, k in zip(x.shape[2:], padding, stride, dilation, self.layer.kernel_size, strict=True)
        ]
        shape = (x.shape[0], self.layer.out_channels, *size)
        return torch.empty(shape, dtype=self.dtype, device=x.device, memory_format=self.format)

    def _arranged(self, x: Tensor) -> Tensor:
        return x.to(dtype=self.dtype, memory_format=self.format)

    def _numbers(self) -> tuple[list[int], list[int], list[int], int]:
        layer: nn.Conv2d = self.layer
        assert not isinstance(layer.padding, str)
        return list(layer.padding), list(layer.stride), list(layer.dilation), layer.groups


class PackedLinear(Packed):
    """Of a `Linear`, or one whose weight is stored as a convolution's."""

    method = "forward"

    def packed(self, x: Tensor) -> Kernel:
        weight, bias = self.rounded()
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.flatten(1).contiguous(), x.shape[:-1].numel())
        call = torch.ops.mkldnn._linear_pointwise.default
        return lambda x: call(x.to(self.dtype), packed, bias, "none", [], "")

    def kept(self) -> Kernel:
        weight, bias = self.rounded()
        return lambda x: F.linear(x.to(self.dtype), weight.flatten(1), bias)

    def like(self, x: Tensor) -> Tensor:
        return x.new_empty((*x.shape[:-1], self.layer.out_features), dtype=self.dtype)
