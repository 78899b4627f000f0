"""Attention against its definition, and what masks and edits may and may not change."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from latentry.errors import UsageError
from latentry.nn.attention import Attention, MapAttention, Signals, attend
from latentry.nn.transformer import SpatialTransformer
from tests.unit.nn.networks import filled, normal

NOTHING = Signals(torch.zeros(1, 1))


def by_loops(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention written out, one query at a time."""
    out = torch.zeros(*q.shape[:3], v.shape[3], dtype=torch.float64)
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            for i in range(q.shape[2]):
                scores = [float(q[b, h, i].double() @ key.double()) / math.sqrt(q.shape[3]) for key in k[b, h]]
                weights = [math.exp(s - max(scores)) for s in scores]
                out[b, h, i] = sum(w / sum(weights) * value.double() for w, value in zip(weights, v[b, h]))
    return out


def qkv() -> tuple[Tensor, Tensor, Tensor]:
    return normal(2, 2, 3, 4, seed=1), normal(2, 2, 5, 4, seed=2), normal(2, 2, 5, 4, seed=3)


def test_is_softmax_attention_on_both_paths() -> None:
    expected = by_loops(*qkv()).float()
    torch.testing.assert_close(attend(*qkv()), expected)
    torch.testing.assert_close(attend(*qkv(), edit=lambda p: p), expected)


def test_bf16_training_on_the_cpu_is_the_same_attention() -> None:
    """Values and gradients of the short way equal those in fp32 as nearly as bf16 can say."""
    given = [part.to(torch.bfloat16).requires_grad_() for part in qkv()]
    exact = [part.detach().float().requires_grad_() for part in given]
    towards = normal(2, 2, 3, 4, seed=4)
    short, expected = attend(*given), attend(*exact)
    assert short.dtype == torch.bfloat16
    torch.testing.assert_close(short.float(), expected, atol=0.02, rtol=0.02)
    gradients = torch.autograd.grad(short, given, towards.to(torch.bfloat16))
    for gradient, right in zip(gradients, torch.autograd.grad(expected, exact, towards), strict=True):
        torch.testing.assert_close(gradient.float(), right, atol=0.03, rtol=0.03)


@pytest.mark.parametrize("edit", [None, lambda p: p], ids=["fused", "edited"])
def test_a_masked_token_might_as_well_not_be_there(edit) -> None:
    q, k, v = qkv()
    mask = torch.tensor([True, True, False, True, False])[None, None, None]
    kept = mask.flatten()
    torch.testing.assert_close(attend(q, k, v, mask=mask, edit=edit), attend(q, k[:, :, kept], v[:, :, kept]))


@pytest.mark.parametrize("edit", [None, lambda p: p], ids=["fused", "edited"])
def test_without_any_token_the_result_is_zero_and_not_nan(edit) -> None:
    mask = torch.zeros(2, 1, 1, 5, dtype=torch.bool)
    mask[1] = True
    out = attend(*qkv(), mask=mask, edit=edit)
    assert out[0].abs().max() == 0
    assert out[1].isfinite().all()


def test_an_edit_sees_probabilities_and_decides_the_result() -> None:
    def only_the_third(probabilities: Tensor) -> Tensor:
        assert probabilities.shape == (2, 2, 3, 5)
        torch.testing.assert_close(probabilities.sum(-1), torch.ones(2, 2, 3))
        return torch.nn.functional.one_hot(torch.tensor(2), 5).float().expand_as(probabilities)

    q, k, v = qkv()
    torch.testing.assert_close(attend(q, k, v, edit=only_the_third), v[:, :, 2:3].expand(2, 2, 3, 4))


@pytest.mark.parametrize("tokens", [1, 3])
def test_of_a_context_of_one_token_the_query_does_not_matter(tokens: int) -> None:
    """The short way gives what probabilities of 1 give, and the same gradients; those of query and key are zero."""
    attention = filled(Attention(8, heads=2, head_width=4, context_width=6))
    x, context = normal(2, tokens, 8).requires_grad_(), normal(2, 1, 6, seed=2).requires_grad_()
    towards = normal(2, tokens, 8, seed=3)
    found = []
    for edit in (None, lambda p: p):
        out = (x + attention(x, attention.project(context), edit=edit)) * towards
        leaves = [x, context, *attention.parameters()]
        found.append([out, *torch.autograd.grad(out.sum(), leaves, allow_unused=True, materialize_grads=True)])
    assert attention(x, attention.project(context)).shape == (2, 1, 8)
    for short, long in zip(*found, strict=True):
        torch.testing.assert_close(short, long, atol=1e-6, rtol=1e-5)


def test_heads_do_not_mix() -> None:
    attention = filled(Attention(8, heads=2, head_width=4, context_width=6))
    x, context = normal(1, 3, 8), normal(1, 5, 6, seed=2)
    with torch.no_grad():
        attention.out.weight.copy_(torch.eye(8))
        before = attention(x, attention.project(context))
        attention.value.weight[4:] += 1  # of the second head
        after = attention(x, attention.project(context))
    torch.testing.assert_close(after[..., :4], before[..., :4])
    assert (after[..., 4:] - before[..., 4:]).abs().max() > 0.1


def test_the_two_orders_of_the_projection_are_a_reordering_of_its_rows() -> None:
    """Swapping them unnoticed would scramble every published attention."""
    heads, channels = 2, 8
    first = filled(MapAttention(channels, heads=heads, norm_groups=4))
    later = filled(MapAttention(channels, heads=heads, norm_groups=4, split_heads_first=False))
    later.load_state_dict(first.state_dict())
    x = normal(2, channels, 3, 5)
    assert (later(x, NOTHING) - first(x, NOTHING)).abs().max() > 1e-3
    # rows of `first` are [head][q, k, v][channel]; of `later` [q, k, v][head][channel]
    rows = torch.arange(3 * channels).reshape(heads, 3, channels // heads).transpose(0, 1).flatten()
    with torch.no_grad():
        assert later.qkv.bias is not None
        later.qkv.weight.copy_(first.qkv.weight[rows])
        later.qkv.bias.copy_(first.qkv.bias[rows])
    torch.testing.assert_close(later(x, NOTHING), first(x, NOTHING))


def test_map_attention_follows_its_pixels() -> None:
    """Attention has no idea of place: permuted pixels give permuted results."""
    attention = filled(MapAttention(8, heads=2, norm_groups=4))
    x = normal(1, 8, 4, 6)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(3))
    permuted = x.flatten(2)[..., order].reshape(x.shape)
    expected = attention(x, NOTHING).flatten(2)[..., order].reshape(x.shape)
    torch.testing.assert_close(attention(permuted, NOTHING), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("context", [None, 6])
def test_a_fresh_attention_is_the_identity(context: int | None) -> None:
    x = normal(2, 8, 3, 5)
    told = NOTHING._replace(context=normal(2, 4, 6))
    assert torch.equal(MapAttention(8, heads=2, norm_groups=4)(x, told), x)
    assert torch.equal(SpatialTransformer(8, heads=2, context_width=context, norm_groups=4)(x, told), x)


def test_a_transformer_needs_its_context() -> None:
    transformer = SpatialTransformer(8, heads=2, context_width=6, norm_groups=4)
    with pytest.raises(UsageError, match="no context was given"):
        transformer(normal(2, 8, 3, 5), NOTHING)


@pytest.mark.parametrize("build", [MapAttention, SpatialTransformer])
def test_heads_that_do_not_fit(build) -> None:
    with pytest.raises(UsageError, match="3 heads do not divide 8 channels"):
        build(8, heads=3, norm_groups=4)
