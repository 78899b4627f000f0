"""Convolutions and linear maps with weights prepacked for oneDNN (CPU), or kept in the precision of use (others).

The kernels choose their own layout of weights. Left to themselves they make it anew at every call; laid out once, a
step with a small batch takes about half the time. Gradients need the plain call, and get it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from latentry.models.modes.mode import Mode

Kernel = Callable[[Tensor], Tensor]


def pack(network: nn.Module, mode: Mode) -> None:
    """Have the layers of a network compute with packed weights. They are packed when they are first needed."""
    dtype = torch.bfloat16 if mode.precision == "bf16" else torch.float32
    for layer in _layers(network):
        method = "_conv_forward" if isinstance(layer, nn.Conv2d) else "forward"
        setattr(layer, method, _Packed(layer, getattr(layer, method), dtype, mode.channels_last))


def unpack(network: nn.Module) -> None:
    """Undo `pack`."""
    for layer in _layers(network):
        for method in ("_conv_forward", "forward"):
            if isinstance(layer.__dict__.get(method), _Packed):
                delattr(layer, method)


def _layers(network: nn.Module) -> Iterator[nn.Conv2d | nn.Linear]:
    for module in network.modules():
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.padding_mode == "zeros"):
            yield module


class _Packed:
    """Calls the kernel with packed weights; the plain method where gradients are needed.

    The weights are packed again where they have changed since.
    """

    def __init__(
        self, layer: nn.Conv2d | nn.Linear, plain: Callable[..., Tensor], dtype: torch.dtype, channels_last: bool
    ) -> None:
        self.layer, self.plain, self.dtype = layer, plain, dtype
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.of: tuple[int, int, int] | None = None
        self.kernel: Kernel | None = None

    def __call__(self, x: Tensor, *_: Tensor | None) -> Tensor:
        if torch.is_grad_enabled():
            return self.plain(x, *_)
        weight = self.layer.weight
        now = (id(weight), weight._version, x.shape[0])
        if self.kernel is None or self.of != now:
            self.kernel, self.of = self._packed(x), now
        return self.kernel(x)

    def _packed(self, x: Tensor) -> Kernel:
        weight = self.layer.weight.detach().to(self.dtype)
        bias = None if self.layer.bias is None else self.layer.bias.detach().to(self.dtype)
        on_cpu = weight.device.type == "cpu" and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        if isinstance(self.layer, nn.Conv2d):
            return (_conv if on_cpu else _kept_conv)(self.layer, weight, bias, self.dtype, self.format, x)
        return (_linear if on_cpu else _kept_linear)(weight.flatten(1), bias, self.dtype, x)


def _conv(
    layer: nn.Conv2d, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, format: torch.memory_format, x: Tensor
) -> Kernel:
    padding, stride, dilation, groups = layer.padding, layer.stride, layer.dilation, layer.groups
    assert not isinstance(padding, str)
    packed = torch._C._nn.mkldnn_reorder_conv2d_weight(
        weight.to_mkldnn(), list(padding), list(stride), list(dilation), groups, list(x.shape)
    )
    call = torch.ops.mkldnn._convolution_pointwise.default

    def kernel(x: Tensor) -> Tensor:
        x = x.to(dtype=dtype, memory_format=format)
        result: Tensor = call(x, packed, bias, padding, stride, dilation, groups, "none", [], "")
        return result

    return kernel


def _linear(weight: Tensor, bias: Tensor | None, dtype: torch.dtype, x: Tensor) -> Kernel:
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), x.shape[:-1].numel())
    call = torch.ops.mkldnn._linear_pointwise.default

    def kernel(x: Tensor) -> Tensor:
        result: Tensor = call(x.to(dtype), packed, bias, "none", [], "")
        return result

    return kernel


def _kept_conv(
    layer: nn.Conv2d, weight: Tensor, bias: Tensor | None, dtype: torch.dtype, format: torch.memory_format, x: Tensor
) -> Kernel:
    weight = weight.contiguous(memory_format=format)
    plain = type(layer)._conv_forward
    return lambda x: plain(layer, x.to(dtype=dtype, memory_format=format), weight, bias)


def _kept_linear(weight: Tensor, bias: Tensor | None, dtype: torch.dtype, x: Tensor) -> Kernel:
    return lambda x: nn.functional.linear(x.to(dtype), weight, bias)
