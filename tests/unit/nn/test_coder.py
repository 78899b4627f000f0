"""The first stage's networks: sizes, memory saving, and where gradients go."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from latentry.nn.coder import CoderDownsample, Decoder, Encoder, FoldedConv, PixelAttention, UnfoldedConv


def pair(levels: int, **options: Any) -> tuple[Encoder, Decoder]:
    torch.manual_seed(0)
    shape: dict[str, Any] = {"channels": 8, "multipliers": [1] * levels, "blocks": 1, "norm_groups": 4} | options
    return Encoder(in_channels=2, out_channels=6, **shape), Decoder(in_channels=3, out_channels=2, **shape)


@pytest.mark.parametrize(("levels", "factor"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32)])
def test_every_factor_shrinks_and_grows_by_it(levels: int, factor: int) -> None:
    encoder, decoder = pair(levels)
    assert encoder(torch.zeros(1, 2, 64, 96)).shape == (1, 6, 64 // factor, 96 // factor)
    assert decoder(torch.zeros(1, 3, 2, 3)).shape == (1, 2, 2 * factor, 3 * factor)


def test_attention_sits_at_the_factors_asked_for() -> None:
    encoder, decoder = pair(3, attention=[2], middle_attention=False)
    for coder, each in ((encoder, 1), (decoder, 2)):
        counts = [sum(isinstance(m, PixelAttention) for m in level.modules()) for level in coder.levels]
        assert counts == [0, each, 0]
        assert not isinstance(coder.middle.attention, PixelAttention)


def test_attention_weighs_values_by_similarity() -> None:
    """Against softmax(q k / sqrt(C)) v written out pixel by pixel."""
    torch.manual_seed(0)
    attention = PixelAttention(4, 2).double()
    x = torch.randn(1, 4, 2, 3, dtype=torch.float64)
    h = attention.norm(x)
    q, k, v = (f(h)[0].reshape(4, 6) for f in (attention.query, attention.key, attention.value))
    mixed = torch.empty(4, 6, dtype=torch.float64)
    for i in range(6):
        weights = torch.stack([(q[:, i] * k[:, j]).sum() / 2.0 for j in range(6)]).exp()
        mixed[:, i] = sum((weights[j] * v[:, j] for j in range(6)), torch.zeros(4)) / weights.sum()
    assert torch.allclose(attention(x), x + attention.out(mixed.reshape(1, 4, 2, 3)), atol=1e-12)


def test_downsampling_pads_right_and_bottom_only() -> None:
    """The first output sees pixels 0..2; symmetric padding would shift every latent by half a pixel."""
    down = CoderDownsample(1)
    nn.init.ones_(down.conv.weight)
    nn.init.zeros_(down.conv.bias)  # type: ignore[arg-type]
    assert torch.equal(down(torch.ones(1, 1, 4, 4))[0, 0], torch.tensor([[9.0, 6.0], [6.0, 4.0]]))


def gradients(modules: tuple[nn.Module, ...]) -> list[Tensor]:
    return [p.grad for m in modules for p in m.parameters() if p.grad is not None]


def test_recomputing_in_the_backward_pass_changes_no_number() -> None:
    x = torch.randn(2, 2, 16, 16)
    results = []
    for checkpoint in (False, True):
        encoder, decoder = pair(3, attention=[2], checkpoint=checkpoint)
        out = decoder(encoder(x)[:, :3])
        out.square().mean().backward()
        results.append([out.detach(), *gradients((encoder, decoder))])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_the_last_layer_is_separate() -> None:
    """The adaptive weight needs the reconstruction as conv_out(features), with nothing after it."""
    _, decoder = pair(2)
    z = torch.randn(1, 3, 4, 4)
    assert torch.equal(decoder(z), decoder.conv_out(decoder.features(z)))


def test_every_parameter_is_used() -> None:
    encoder, decoder = pair(3, attention=[1, 2])
    decoder(encoder(torch.randn(1, 2, 16, 16))[:, :3]).square().sum().backward()
    unused = [n for m in (encoder, decoder) for n, p in m.named_parameters() if p.grad is None or not p.grad.any()]
    # A key's bias shifts all logits of a query alike, which a softmax does not see.
    assert [n for n in unused if not n.endswith("key.bias")] == []


@pytest.mark.parametrize("patch", [2, 4])
def test_patches_are_folded_into_channels_and_unfolded_in_order(patch: int) -> None:
    """Space to depth and back is a rearrangement: a wrong order would weave a grid into every picture."""
    x = torch.rand(2, 3, 16, 24)
    fold, unfold = FoldedConv(3, 3 * patch**2, patch), UnfoldedConv(3 * patch**2, 3, patch)
    for conv in (fold, unfold):  # the identity over channels
        conv.weight.data.zero_()
        conv.weight.data[:, :, 1, 1] = torch.eye(3 * patch**2)
        assert conv.bias is not None
        conv.bias.data.zero_()
    folded = fold(x)
    assert folded.shape == (2, 3 * patch**2, 16 // patch, 24 // patch)
    assert torch.equal(folded[:, 0], x[:, 0, ::patch, ::patch])
    assert torch.equal(unfold(folded), x)


def test_a_folded_first_stage_has_the_factor_of_its_patches_and_levels() -> None:
    options = {"multipliers": [1, 2], "patch": 4, "attention": [4]}
    shape: dict[str, Any] = {"channels": 8, "blocks": 1, "norm_groups": 4} | options
    encoder, decoder = Encoder(in_channels=3, out_channels=5, **shape), Decoder(in_channels=5, out_channels=3, **shape)
    z = encoder(torch.rand(1, 3, 32, 48))
    assert z.shape == (1, 5, 4, 6)
    assert decoder(z).shape == (1, 3, 32, 48)
    attends = [name for name, part in encoder.named_modules() if isinstance(part, PixelAttention)]
    assert attends == ["levels.0.attentions.0", "middle.attention"]
