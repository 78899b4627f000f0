"""The UNet: every option, what may be computed beforehand, and the errors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from latentry.errors import UsageError
from latentry.nn.unet import UNet
from tests.unit.nn.networks import PLAIN, normal, small_unet

T = torch.tensor([10.0, 700.0])
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": PLAIN,
    "heads": PLAIN | {"head_channels": None, "heads": 2},
    "one head": PLAIN | {"head_channels": None},
    "qkv first": PLAIN | {"split_heads_first": False},
    "scale shift": PLAIN | {"scale_shift": True},
    "residual resampling": PLAIN | {"resblock_updown": True},
    "no attention": PLAIN | {"attention": ()},
    "all attention": PLAIN | {"attention": (1, 2, 4)},
    "one level": PLAIN | {"multipliers": (2,)},
    "three blocks": PLAIN | {"blocks": 3},
    "transformer": {},
    "deep transformer": {"transformer_depth": (0, 1, 2)},
    "transformer without context": {"context_channels": None},
    "vector": PLAIN | {"vector_channels": 6},
    "concat": PLAIN | {"concat_channels": 2},
    "everything": {"vector_channels": 6, "concat_channels": 2, "scale_shift": True, "resblock_updown": True},
}
each = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())


def told(unet: UNet, size: tuple[int, int] = (8, 12)) -> dict[str, Any]:
    """A condition of every kind that the network takes, for two samples."""
    conditions: dict[str, Any] = {}
    if unet.context_channels:
        conditions["context"] = normal(2, 5, unet.context_channels, seed=2)
    if unet.vector_channels:
        conditions["vector"] = normal(2, unet.vector_channels, seed=3)
    if unet.concat_channels:
        conditions["concat"] = normal(2, unet.concat_channels, *size, seed=4)
    return conditions


@each
def test_every_input_reaches_the_output_and_every_parameter_learns(options: dict[str, Any]) -> None:
    unet = small_unet(**options)
    x = normal(2, 3, 8, 12).requires_grad_()
    conditions = {name: value.requires_grad_() for name, value in told(unet).items()}
    out = unet(x, T, **conditions)
    assert out.shape == x.shape
    out.square().mean().backward()
    for name, value in {"x": x, **conditions}.items():
        assert value.grad is not None, name
        assert value.grad.flatten(1).abs().amax(1).min() > 0, f"{name} does not reach the output"
    unused = [name for name, p in unet.named_parameters() if p.grad is None or not p.grad.any()]
    assert not unused


@each
@torch.no_grad()
def test_a_sample_does_not_depend_on_its_batch(options: dict[str, Any]) -> None:
    unet, x = small_unet(**options), normal(2, 3, 8, 12)
    conditions = told(unet)
    alone = unet(x[1:], T[1:], **{name: value[1:] for name, value in conditions.items()})
    torch.testing.assert_close(unet(x, T, **conditions)[1:], alone, atol=1e-4, rtol=1e-4)


@each
@torch.no_grad()
def test_memory_format_does_not_matter(options: dict[str, Any]) -> None:
    unet, x = small_unet(**options), normal(2, 3, 8, 12)
    expected = unet(x, T, **told(unet))
    unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    out = unet(x.contiguous(memory_format=torch.channels_last), T, **told(unet))
    torch.testing.assert_close(out, expected, atol=1e-4, rtol=1e-4)


@each
def test_checkpointing_changes_memory_and_not_the_gradients(options: dict[str, Any]) -> None:
    """With dropout on: the recomputed forward must drop the same activations."""
    gradients = []
    for checkpoint in (False, True):
        unet = small_unet(**options, dropout=0.3, checkpoint=checkpoint).train()
        conditions = {name: value.requires_grad_() for name, value in told(unet).items()}
        torch.manual_seed(5)
        unet(normal(2, 3, 8, 12), T, **conditions).square().mean().backward()
        gradients.append([p.grad for p in (*unet.parameters(), *conditions.values())])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@torch.no_grad()
def test_keys_and_values_in_another_order_are_another_picture() -> None:
    unet, x = small_unet(), normal(2, 3, 8, 12)
    context = told(unet)["context"]
    kv = unet.project_context(context)
    assert len(kv) == 7  # 2 down, 1 middle, 4 up
    expected = unet(x, T, context=context)
    torch.testing.assert_close(unet(x, T, context_kv=kv), expected)
    swapped = [*kv[:2], kv[3], kv[2], *kv[4:]]
    assert (unet(x, T, context_kv=swapped) - expected).abs().max() > 1e-3


@torch.no_grad()
def test_one_time_embedding_serves_a_whole_batch() -> None:
    unet, x = small_unet(**PLAIN), normal(2, 3, 8, 12)
    embedding = unet.embed_time(torch.tensor([3.0, 250.0]))
    expected = unet(x, torch.full((2,), 250.0))
    torch.testing.assert_close(unet(x, torch.zeros(2), time_embedding=embedding[1:]), expected)


@torch.no_grad()
def test_masked_tokens_say_nothing() -> None:
    unet, x = small_unet(), normal(2, 3, 8, 12)
    context = told(unet)["context"]
    mask = torch.tensor([[True, True, False, True, False], [True] * 5])
    other = torch.where(mask[..., None], context, normal(2, 5, 12, seed=9))
    out = unet(x, T, context=context, context_mask=mask)
    torch.testing.assert_close(unet(x, T, context=other, context_mask=mask), out)
    torch.testing.assert_close(unet(x, T, context_kv=unet.project_context(context), context_mask=mask), out)
    assert (unet(x, T, context=context) - out)[0].abs().max() > 1e-3
    torch.testing.assert_close(unet(x, T, context=context)[1], out[1])


@torch.no_grad()
def test_an_edit_reaches_the_attention_it_names_and_no_other() -> None:
    unet, x = small_unet(), normal(2, 3, 8, 12)
    seen: list[torch.Size] = []

    def watch(probabilities: torch.Tensor) -> torch.Tensor:
        seen.append(probabilities.shape)
        return probabilities * 0

    place = "middle.attention.blocks.0.cross_attention"
    out = unet(x, T, **told(unet), edits={place: watch})
    assert seen == [torch.Size((2, 4, 6, 5))]  # 16 channels in heads of 4; 2x3 pixels; 5 tokens
    assert (out - unet(x, T, **told(unet))).abs().max() > 1e-3
    with pytest.raises(UsageError, match=f'did you mean "{place}"'):
        unet(x, T, **told(unet), edits={"middle.attention.block.0.cross_attention": watch})


@torch.no_grad()
def test_compiles_without_a_break() -> None:
    """A value read back into Python, or a lookup that the compiler cannot follow, would cut the compiled network."""
    unet, x = small_unet(), normal(2, 3, 8, 12)
    context = told(unet)["context"]
    compiled = torch.compile(unet, backend="eager", fullgraph=True)
    out = compiled(x, T, context_kv=unet.project_context(context))
    torch.testing.assert_close(out, unet(x, T, context=context))


def test_a_fresh_network_predicts_zero() -> None:
    unet = UNet(in_channels=3, out_channels=3, channels=8, multipliers=(1, 2), norm_groups=4)
    assert not unet(normal(2, 3, 8, 8), T).any()


@torch.no_grad()
def test_bf16_autocast_is_close_to_fp32() -> None:
    unet, x = small_unet(), normal(2, 3, 8, 12)
    expected = unet(x, T, **told(unet))
    with torch.autocast("cpu", torch.bfloat16):
        out = unet(x, T, **told(unet)).float()
    assert torch.nn.functional.cosine_similarity(out.flatten(), expected.flatten(), dim=0) > 0.995


def test_more_levels_of_transformers_than_of_the_network() -> None:
    with pytest.raises(UsageError, match="transformer_depth: 2 values for 3 levels"):
        small_unet(transformer_depth=(1, 1))


BAD_NETWORKS: dict[str, tuple[dict[str, Any], str]] = {
    "groups": ({"norm_groups": 3}, "norm_groups: 3 does not divide 8 channels"),
    "head width": (PLAIN | {"head_channels": 5}, "head_channels: 5 does not divide 16 channels"),
    "heads": (PLAIN | {"head_channels": None, "heads": 3}, "3 heads do not divide 16 channels"),
    "context": ({"transformer_depth": 0}, "transformer_depth is 0, so nothing reads it"),
}


@pytest.mark.parametrize(("changes", "message"), BAD_NETWORKS.values(), ids=BAD_NETWORKS.keys())
def test_a_network_that_cannot_be_built(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        small_unet(**changes)


BAD_CALLS: dict[str, tuple[dict[str, Any], str]] = {
    "size": ({"x": normal(2, 3, 10, 12)}, "latent of 10x12; both must be multiples of 4. Use 8x12 or 12x12"),
    "channels": ({"x": normal(2, 4, 8, 12)}, "x has 4 channels; this network takes 3"),
    "no context": ({"context": None}, "no context was given; this network takes one of 12 channels"),
    "no concat": ({"concat": None}, "concat has 0 channels; this network takes 2"),
    "vector": ({"vector": normal(2, 7)}, "vector has 7 channels; this network takes 6"),
}


@pytest.mark.parametrize(("changes", "message"), BAD_CALLS.values(), ids=BAD_CALLS.keys())
def test_a_call_that_does_not_fit(changes: dict[str, Any], message: str) -> None:
    unet = small_unet(vector_channels=6, concat_channels=2)
    with pytest.raises(UsageError, match=message):
        unet(**({"x": normal(2, 3, 8, 12), "t": T} | told(unet) | changes))


def test_a_context_that_nothing_would_read() -> None:
    with pytest.raises(UsageError, match="a context was given; this network takes none"):
        small_unet(**PLAIN)(normal(2, 3, 8, 12), T, context=normal(2, 5, 12))


def test_conditions_change_single_samples() -> None:
    unet = small_unet(vector_channels=6, concat_channels=2)
    x, conditions = normal(2, 3, 8, 12), told(unet)
    before = unet(x, T, **conditions)
    for name, value in conditions.items():
        changed = conditions | {name: torch.cat([value[:1], value[1:] + 1])}
        after = unet(x, T, **changed)
        torch.testing.assert_close(after[0], before[0])
        assert (after[1] - before[1]).abs().max() > 1e-3, name
