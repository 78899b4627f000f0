"""If these fail, a large image has seams or other colours than the same network gives of it whole."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from latentry.nn.coder import Decoder, Encoder
from latentry.nn.tiled import layers
from latentry.nn.tiled.coder import decoded, encoded
from latentry.nn.tiled.moments import Moments, normalised
from latentry.nn.tiled.plane import Doubled, Room, Source, Whole
from latentry.windows import Window, cover

SHAPE: dict[str, Any] = {"channels": 8, "multipliers": (1, 2, 3), "blocks": 1, "norm_groups": 4}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {"middle_attention": False},
    "attention at the bottom": {},
    "attention in levels": {"attention": (2, 4)},
    "patch": {"patch": 2, "multipliers": (1, 2)},
}


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many windows of a small image, their sides no divisors of the map's."""
    monkeypatch.setattr(layers, "side_for", lambda channels: 11)
    monkeypatch.setattr(layers, "TOKENS_SIDE", 5)


def filled(module: torch.nn.Module) -> None:
    """Weights and offsets that make every statistic matter."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape)


def gathered(source: Source, side: int) -> Tensor:
    whole = torch.zeros(1, source.channels, source.height, source.width)
    for window in cover(source.height, source.width, side):
        whole[..., window.top : window.bottom, window.left : window.right] = source.read(window)
    return whole


def psnr(a: Tensor, b: Tensor) -> float:
    return 10 * math.log10(float((b.max() - b.min()) ** 2 / (a - b).square().mean().clamp_min(1e-30)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("in_memory", [0, 2**30])
@torch.no_grad()
def test_decoding_in_windows_is_decoding_the_whole(kind: str, in_memory: int, tmp_path: Path) -> None:
    """Statistics of windows alone, or attention inside them, would be tens of decibels off."""
    decoder = Decoder(in_channels=4, out_channels=3, **{**SHAPE, **KINDS[kind]}).eval()
    filled(decoder)
    z = torch.randn(1, 4, 14, 9) * torch.linspace(0.2, 3, 14)[:, None]
    ours = gathered(decoded(decoder, Whole(z), Room(tmp_path, in_memory=in_memory)), 16)
    assert ours.shape == decoder(z).shape
    assert psnr(ours, decoder(z)) > 90
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_encoding_in_windows_is_encoding_the_whole(kind: str, tmp_path: Path) -> None:
    encoder = Encoder(in_channels=3, out_channels=8, **{**SHAPE, **KINDS[kind]}).eval()
    filled(encoder)
    image = torch.randn(1, 3, 36, 52) * torch.linspace(0.2, 3, 52)
    ours = gathered(encoded(encoder, Whole(image), Room(tmp_path, in_memory=0)), 7)
    assert ours.shape == encoder(image).shape
    assert psnr(ours, encoder(image)) > 90


def test_moments_by_parts_are_those_of_the_whole() -> None:
    """Beside torch's own group norm, far from zero, where sums of squares alone lose all digits."""
    x = 1000 + torch.randn(6, 40, 33)
    moments, norm = Moments(6), torch.nn.GroupNorm(2, 6)
    filled(norm)
    for window in cover(40, 33, 13):
        moments.add(x[:, window.top : window.bottom, window.left : window.right])
    assert torch.allclose(moments.mean, x.double().mean((1, 2)), rtol=1e-7)
    assert torch.allclose(moments.squares / moments.count, x.double().var((1, 2), correction=0), rtol=1e-4)
    with torch.no_grad():
        ours = normalised(norm.double(), moments, silu=False)(x[None].double())
        assert (ours - norm(x[None].double())).abs().max() < 1e-3


def test_doubling_reads_any_window() -> None:
    x = torch.randn(1, 2, 5, 6)
    doubled = Doubled(Whole(x))
    whole = x.repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert torch.equal(doubled.read(Window(0, 10, 0, 12)), whole)
    assert torch.equal(doubled.read(Window(3, 8, 1, 10)), whole[..., 3:8, 1:10])
