"""Other forms of layers for training on a CPU: by more than rounding other, training would go wrong there alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentry.nn.blocks import Upsample
from latentry.nn.forms import cpu


@pytest.fixture
def slow_mkl(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor where MKL is slow."""
    monkeypatch.setattr(cpu, "mkl_is_slow", lambda: True)


def both(call: Callable[..., Tensor], *of: Tensor) -> list[Tensor]:
    """The result and the gradients of a random sum of it, in float64's stead by float32."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in of]
    out = call(*leaves)
    outer = torch.randn(out.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64).to(out)
    return [out.detach(), *torch.autograd.grad(out, leaves, outer)]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def assert_near(found: list[Tensor], expected: list[Tensor]) -> None:
    for one, other in zip(found, expected, strict=True):
        scale = float(other.abs().max())
        assert one.shape == other.shape
        assert float((one.double() - other.double()).abs().max()) <= 2e-5 * scale


@pytest.mark.usefixtures("slow_mkl")
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("turned", [True, False], ids=["a view", "contiguous"])
def test_a_linear_layer_by_onednn(monkeypatch: pytest.MonkeyPatch, bias: bool, turned: bool) -> None:
    """Value and gradients against the same product in float64; also of maps seen as tokens, whose memory is turned."""
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this torch has no oneDNN")
    calls: list[int] = []
    product = cpu.product

    def counted(*of: Any) -> Tensor:
        calls.append(1)
        return product(*of)

    monkeypatch.setattr(cpu, "product", counted)
    x = normal(2, 5, 64) if turned else normal(2, 64, 5)
    of = [x, normal(7, 5, seed=1), *([normal(7, seed=2)] if bias else [])]

    def layer(linear: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda x, w, b=None: linear(x.transpose(1, 2) if turned else x, w, b)

    assert_near(both(layer(cpu.linear), *of), both(layer(F.linear), *(t.double() for t in of)))
    assert len(calls) == 3, "it was not by oneDNN"


@pytest.mark.parametrize(("pixels", "batch"), [(1, 1), (1, 3)])
@pytest.mark.parametrize("size", [(4, 4), (5, 3), (1, 2)])
def test_a_convolution_of_doubled_pixels(
    monkeypatch: pytest.MonkeyPatch, pixels: int, batch: int, size: tuple[int, int]
) -> None:
    """Value and gradients against doubling and convolving in float64, at every edge too."""
    monkeypatch.setattr(cpu, "PIXELS", pixels)
    seen: list[Any] = []
    transposed = F.conv_transpose2d

    def counted(*of: Any, **how: Any) -> Tensor:
        seen.append(1)
        return transposed(*of, **how)

    monkeypatch.setattr(F, "conv_transpose2d", counted)
    conv = nn.Conv2d(3, 6, 3, padding=1)
    of = [normal(batch, 3, *size), normal(6, 3, 3, 3, seed=1), normal(6, seed=2)]

    def ours(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        conv.__dict__.update(weight=weight, bias=bias)
        return cpu.doubled(x, conv)

    def plain(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.conv2d(F.interpolate(x, scale_factor=2.0, mode="nearest"), weight, bias, padding=1)

    del conv.weight, conv.bias
    assert_near(both(ours, *of), both(plain, *(t.double() for t in of)))
    assert seen, "it was not the short form"


def test_what_is_drawn_is_computed_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without gradients, and in bf16, nothing changes: else pictures of a seed would, from one processor to another."""
    monkeypatch.setattr(cpu, "mkl_is_slow", lambda: True)
    monkeypatch.setattr(cpu, "PIXELS", 1)
    up, layer, x, tokens = Upsample(4), cpu.Linear(5, 7), normal(2, 4, 8, 8), normal(2, 64, 5)
    monkeypatch.setattr(F, "conv_transpose2d", None)
    monkeypatch.setattr(cpu, "product", None)
    with torch.no_grad():
        assert torch.equal(up(x), up.conv(F.interpolate(x, scale_factor=2.0, mode="nearest")))
        assert torch.equal(layer(tokens), F.linear(tokens, layer.weight, layer.bias))
    with torch.autocast("cpu", torch.bfloat16):
        assert up(x).dtype == layer(tokens).dtype == torch.bfloat16
