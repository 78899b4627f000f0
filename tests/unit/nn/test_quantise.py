"""The codebook: the right code is found, and gradients go where the paper sends them."""

from __future__ import annotations

import pytest
import torch

from latentry.nn import quantise
from latentry.nn.quantise import VectorQuantiser, perplexity


def quantiser() -> VectorQuantiser:
    torch.manual_seed(0)
    made = VectorQuantiser(16, 3)
    torch.nn.init.normal_(made.codebook)
    return made


def latents() -> torch.Tensor:
    return torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1))


def test_nearest_is_the_nearest() -> None:
    vq, z = quantiser(), latents()
    indices = vq.nearest(z)
    distances = (z[:, None] - vq.codebook[None, :, :, None, None]).square().sum(dim=2)  # (B, K, h, w)
    assert torch.equal(indices, distances.argmin(dim=1))
    assert torch.equal(vq.lookup(indices)[1, :, 2, 3], vq.codebook[indices[1, 2, 3]])


def test_a_large_codebook_is_searched_in_parts_with_the_same_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    vq, z = quantiser(), latents()
    whole = vq.nearest(z)
    monkeypatch.setattr(quantise, "CHUNK", 48)  # three vectors at a time
    assert torch.equal(vq.nearest(z), whole)


def test_gradient_passes_straight_through() -> None:
    z = latents().requires_grad_()
    weight = torch.randn(2, 3, 4, 5)
    (gradient,) = torch.autograd.grad((quantiser()(z).z * weight).sum(), z)
    assert torch.equal(gradient, weight)


def test_codebook_loss_pulls_each_side_with_its_weight() -> None:
    """d/dz is the commitment with weight 1, d/de the codebook term with beta: as published, not as in the paper."""
    vq, z = quantiser(), latents().requires_grad_()
    quantised = vq(z)
    quantised.codebook_loss.backward()
    difference = z.detach() - vq.lookup(quantised.indices).detach()
    assert z.grad is not None
    assert torch.allclose(z.grad, 2.0 * difference / z.numel(), atol=1e-7)
    expected = torch.zeros(16, 3)
    flat = -0.25 * 2.0 * difference.permute(0, 2, 3, 1).reshape(-1, 3) / z.numel()
    expected.index_add_(0, quantised.indices.flatten(), flat)
    assert vq.codebook.grad is not None
    assert torch.allclose(vq.codebook.grad, expected, atol=1e-7)


def test_codes_do_not_change_under_autocast() -> None:
    vq, z = quantiser(), latents()
    with torch.autocast("cpu", torch.bfloat16):
        quantised = vq(z)
    assert torch.equal(quantised.indices, vq.nearest(z))
    assert quantised.codebook_loss.dtype == torch.float32


def test_perplexity_counts_the_codes_in_use() -> None:
    assert perplexity(torch.tensor([5, 5, 5, 5, 0, 0])).item() == pytest.approx(4.0)
    assert perplexity(torch.tensor([9, 0])).item() == pytest.approx(1.0)
