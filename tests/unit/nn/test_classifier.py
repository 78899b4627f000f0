"""The network of the classifier of noisy latents. If these fail, guidance follows a gradient of something else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from latentry.errors import UsageError
from latentry.nn.classifier import AttentionPool, NoisyClassifier
from tests.unit.nn.networks import filled, normal

T = torch.tensor([10.0, 700.0])
SHAPE: dict[str, Any] = {
    "in_channels": 4,
    "classes": 5,
    "channels": 8,
    "multipliers": (1, 2, 2),
    "blocks": 1,
    "attention": (2,),
    "head_channels": 4,
    "norm_groups": 4,
}
OPTIONS: dict[str, dict[str, Any]] = {
    "attention pool": {},
    "mean": {"pool": "mean"},
    "one head": {"head_channels": None},
    "time added": {"scale_shift": False},
    "one level": {"multipliers": (2,), "attention": ()},
    "two blocks": {"blocks": 2, "attention": (1, 2, 4)},
}
each = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())


def small(**options: Any) -> NoisyClassifier:
    return filled(NoisyClassifier(**{**SHAPE, **options}))


@each
def test_latent_and_time_reach_every_logit_and_every_weight_learns(options: dict[str, Any]) -> None:
    network = small(**options)
    x = normal(2, 4, 8, 12).requires_grad_()
    logits = network(x, T)
    assert logits.shape == (2, 5)
    for number in range(5):
        (gradient,) = torch.autograd.grad(logits[:, number].sum(), x, retain_graph=True)
        assert gradient.flatten(1).abs().amax(1).min() > 0
    assert (network(x, T.flip(0)) - logits).abs().amin(1).max() > 1e-4, "the time says nothing"
    logits.square().mean().backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]


@each
def test_each_image_is_judged_by_itself_at_any_size(options: dict[str, Any]) -> None:
    network = small(**options)
    for size in ((8, 8), (16, 4), (20, 28)):
        x = normal(2, 4, *size)
        alone = torch.cat([network(x[i : i + 1], T[i : i + 1]) for i in (0, 1)])
        torch.testing.assert_close(network(x, T), alone, rtol=1e-4, atol=1e-5)


def test_with_its_first_weights_no_class_is_likelier_than_another() -> None:
    """Guidance by a classifier that was not trained changes nothing."""
    fresh, x = NoisyClassifier(**SHAPE).eval(), normal(2, 4, 8, 8).requires_grad_()
    logits = fresh(x, T)
    assert not logits.any()
    (gradient,) = torch.autograd.grad(logits.log_softmax(1)[:, 0].sum(), x)
    assert not gradient.any()


def test_recomputed_activations_give_the_same_gradients() -> None:
    found = []
    for checkpoint in (False, True):
        network, x = small(checkpoint=checkpoint), normal(2, 4, 8, 8).requires_grad_()
        found.append(torch.autograd.grad(network(x, T).square().sum(), x)[0])
    torch.testing.assert_close(*found)


def test_the_pool_is_torchs_attention_of_the_mean_over_all_pixels() -> None:
    """`nn.MultiheadAttention` with the same weights: one query, the mean; keys and values of it and of every pixel."""
    pool = filled(AttentionPool(8, heads=2), seed=3)
    theirs, own = nn.MultiheadAttention(8, 2, batch_first=True).eval(), pool.attention
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([own.query.weight, own.key.weight, own.value.weight]))
        theirs.in_proj_bias.zero_()
        theirs.out_proj.load_state_dict(own.out.state_dict())
    x = normal(2, 8, 3, 5)
    pixels = x.flatten(2).mT
    mean = pixels.mean(1, keepdim=True)
    tokens = torch.cat([mean, pixels], 1)
    torch.testing.assert_close(pool(x), theirs(mean, tokens, tokens)[0][:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"norm_groups": 3}, "norm_groups: 3 does not divide 8"), ({"head_channels": 3}, "head_channels: 3 does not")],
)
def test_widths_that_do_not_fit_are_told(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        NoisyClassifier(**{**SHAPE, **options})
