"""The pieces: norms, residual blocks, resampling, embeddings."""

from __future__ import annotations

import math

import pytest
import torch

from latentry.errors import UsageError
from latentry.nn.blocks import Downsample, ResidualBlock, Upsample, double, halve, norm, zero_module
from latentry.nn.embedding import sinusoids
from tests.unit.nn.networks import filled, normal


@pytest.mark.parametrize(("channels", "groups"), [(48, 32), (8, 0), (8, 16)])
def test_groups_that_do_not_divide_are_named(channels: int, groups: int) -> None:
    with pytest.raises(UsageError, match=f"norm_groups: {groups} does not divide {channels} channels; 1, 2,"):
        norm(channels, groups)


def test_norm_takes_its_epsilon() -> None:
    flat = 1e-3 * normal(1, 4, 8, 8)
    assert norm(4, 2, eps=1e-6)(flat).std() > 1.2 * norm(4, 2)(flat).std() > 0


def test_zero_module() -> None:
    assert all(not p.any() for p in zero_module(torch.nn.Conv2d(2, 2, 3)).parameters())


@pytest.mark.parametrize("resample", [None, "down", "up"])
def test_a_fresh_residual_block_only_resamples(resample) -> None:
    """Deep networks start as the identity; without it early training is slow or unstable."""
    x = normal(2, 8, 4, 6)
    block = ResidualBlock(8, 8, 16, norm_groups=4, resample=resample)
    expected = {None: x, "down": x.unflatten(3, (3, 2)).unflatten(2, (2, 2)).mean((3, 5))}.get(resample)
    if expected is None:
        expected = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(block(x, normal(2, 16)), expected)


def test_halving_undoes_doubling() -> None:
    x = normal(1, 2, 3, 5)
    torch.testing.assert_close(halve(double(x)), x)


@pytest.mark.parametrize("scale_shift", [False, True])
def test_each_sample_is_told_its_own_time(scale_shift: bool) -> None:
    block = filled(ResidualBlock(8, 12, 16, norm_groups=4, scale_shift=scale_shift))
    x, time = normal(1, 8, 4, 4).expand(3, -1, -1, -1), normal(3, 16, seed=2)
    together = block(x, time)
    assert (together[0] - together[1]).abs().max() > 1e-2
    for i in range(3):
        torch.testing.assert_close(together[i : i + 1], block(x[:1], time[i : i + 1]), atol=1e-5, rtol=1e-4)


def test_scale_and_shift_come_in_that_order() -> None:
    block = filled(ResidualBlock(8, 8, 16, norm_groups=4, scale_shift=True))
    with torch.no_grad():
        block.time.weight.zero_()
        block.time.bias.copy_(torch.cat([torch.full((8,), -1.0), torch.full((8,), 0.5)]))
        out = block(normal(1, 8, 4, 4), torch.zeros(1, 16)) - normal(1, 8, 4, 4)
        constant = torch.nn.functional.silu(torch.tensor(0.5)).expand(1, 8, 4, 4)  # scale -1 leaves the shift alone
        torch.testing.assert_close(out, block.conv_out(constant))


def test_resampling_changes_size_by_two() -> None:
    x = normal(1, 4, 6, 10)
    assert Downsample(4)(x).shape == (1, 4, 3, 5)
    assert Upsample(4)(x).shape == (1, 4, 12, 20)


def test_dropout_is_on_only_in_training() -> None:
    block = filled(ResidualBlock(8, 8, 16, norm_groups=4, dropout=0.5))
    x, time = normal(1, 8, 4, 4), normal(1, 16)
    assert torch.equal(block(x, time), block(x, time))
    block.train()
    assert not torch.equal(block(x, time), block(x, time))


@pytest.mark.parametrize("t", [0.0, 1.0, 500.5, 999.0])
def test_sinusoids_are_cosines_then_sines(t: float) -> None:
    """In another order or with other frequencies no published weight would know the time."""
    angles = [t * math.exp(-math.log(10000) * i / 4) for i in range(4)]
    expected = [math.cos(a) for a in angles] + [math.sin(a) for a in angles]
    torch.testing.assert_close(sinusoids(torch.tensor([t]), 8)[0], torch.tensor(expected), atol=1e-4, rtol=0)
    assert sinusoids(torch.tensor([t]), 9)[0, 8] == 0
