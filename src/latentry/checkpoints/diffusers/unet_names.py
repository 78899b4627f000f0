"""The weights of our UNet as those of diffusers' two, and back: names, and the attentions' one projection as three."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from latentry.checkpoints.diffusers.names import Names, inside, modules
from latentry.models.config import UNetOptions

RESIDUAL = modules({
    "norm_in": "norm1", "conv_in": "conv1", "time": "time_emb_proj", "norm_out": "norm2", "conv_out": "conv2",
    "skip": "conv_shortcut",
})  # fmt: skip
TOKENS = modules({"query": "to_q", "key": "to_k", "value": "to_v", "out": "to_out.0"})
BLOCK = [
    *modules({"norm_self": "norm1", "norm_cross": "norm2", "norm_feed_forward": "norm3"}),
    *inside("self_attention", "attn1", TOKENS),
    *inside("cross_attention", "attn2", TOKENS),
    *modules({"feed_forward.expand": "ff.net.0.proj", "feed_forward.reduce": "ff.net.2"}),
]
TRANSFORMER = [
    *modules({"norm": "norm", "proj_in": "proj_in", "proj_out": "proj_out"}),
    *inside("blocks.#", "transformer_blocks.#", BLOCK),
]
MAP = modules({"norm": "group_norm", "query": "to_q", "key": "to_k", "value": "to_v", "proj_out": "to_out.0"})
ENDS = modules({
    "time.0": "time_embedding.linear_1", "time.2": "time_embedding.linear_2", "conv_in": "conv_in",
    "norm_out": "conv_norm_out", "conv_out": "conv_out", "vector.0": "class_embedding.linear_1",
    "vector.2": "class_embedding.linear_2",
})  # fmt: skip
PARTS = ("query", "key", "value")
QKV = re.compile(r"(.*\.attention)\.qkv\.(weight|bias)")
QUERY = re.compile(r"(.*\.attention)\.query\.(weight|bias)")
SELF_ATTENTION = re.compile(r"(.*\.transformer_blocks\.\d+\.)(attn1|norm1)(\..*)")
CROSS_ATTENTION = re.compile(r".*\.transformer_blocks\.\d+\.(attn2|norm2)\..*")
OF_CONTEXT = (".to_k.weight", ".to_v.weight")
PROJECTION = re.compile(r".*\.attention\.proj_out\.weight")


def names(levels: int, transformer: bool) -> Names:
    """Our names, `qkv` already split, and diffusers'."""
    attention = TRANSFORMER if transformer else MAP
    pairs = [*ENDS, *inside("middle.first", "mid_block.resnets.0", RESIDUAL)]
    pairs += [*inside("middle.last", "mid_block.resnets.1", RESIDUAL)]
    pairs += inside("middle.attention", "mid_block.attentions.0", attention)
    sides = (("down.#", "down_blocks.#", "downsamplers.0"), ("up.~", "up_blocks.~", "upsamplers.0"))
    for ours, theirs, resample in sides:
        pairs += inside(f"{ours}.blocks.#.residual", f"{theirs}.resnets.#", RESIDUAL)
        pairs += inside(f"{ours}.blocks.#.attention", f"{theirs}.attentions.#", attention)
        pairs += inside(f"{ours}.resample", f"{theirs}.{resample}", [("conv.*", "conv.*"), *RESIDUAL])
    return Names(pairs, levels)


def split_heads(qkv: Tensor, heads: int, heads_first: bool) -> list[Tensor]:
    """(3C, ...) as query, key and value, each (C, ...). heads_first: see `MapAttention`."""
    if not heads_first:
        return list(qkv.chunk(3))
    return [part.flatten(0, 1) for part in qkv.unflatten(0, (heads, 3, -1)).unbind(1)]  # each from (heads, d, ...)


def join_heads(parts: list[Tensor], heads: int, heads_first: bool) -> Tensor:
    """The inverse of `split_heads`."""
    if not heads_first:
        return torch.cat(parts)
    return torch.stack([part.unflatten(0, (heads, -1)) for part in parts], dim=1).flatten(0, 2)


def heads_at(width: int, options: UNetOptions) -> int:
    """The number of heads of an attention `width` channels wide."""
    return width // options.head_channels if options.head_channels else options.heads or 1


def to_theirs(tensors: Mapping[str, Tensor], options: UNetOptions) -> dict[str, Tensor]:
    """Our weights under diffusers' names and in its shapes."""
    split: dict[str, Tensor] = {}
    transformer = bool(deepest(options))
    for name, tensor in tensors.items():
        if match := QKV.fullmatch(name):
            flat = tensor.flatten(1) if tensor.ndim > 1 else tensor  # (3C, C, 1) -> (3C, C)
            heads = heads_at(len(flat) // 3, options)
            parts = split_heads(flat, heads, options.split_heads_first)
            split |= {f"{match[1]}.{part}.{match[2]}": value for part, value in zip(PARTS, parts, strict=True)}
        elif PROJECTION.fullmatch(name) and not transformer:
            split[name] = tensor.flatten(1)  # (C, C, 1) -> (C, C)
        else:
            split[name] = tensor
    return names(len(options.multipliers), transformer).to_theirs(split)


def to_ours(tensors: Mapping[str, Tensor], options: UNetOptions) -> dict[str, Tensor]:
    """Diffusers' weights under our names and in our shapes."""
    transformer = bool(deepest(options))
    named = names(len(options.multipliers), transformer).to_ours(tensors)
    if transformer:
        return named
    joined: dict[str, Tensor] = {}
    for name, tensor in named.items():
        if match := QUERY.fullmatch(name):
            parts = [named[f"{match[1]}.{part}.{match[2]}"] for part in PARTS]
            heads = heads_at(len(tensor), options)
            joined[f"{match[1]}.qkv.{match[2]}"] = _deep(join_heads(parts, heads, options.split_heads_first))
        elif not re.fullmatch(r".*\.attention\.(key|value)\.(weight|bias)", name):
            joined[name] = _deep(tensor) if PROJECTION.fullmatch(name) else tensor
    return joined


def silenced(theirs: Mapping[str, Tensor], width: int) -> dict[str, Tensor]:
    """Diffusers' weights with a cross-attention of zeros beside each self-attention: it adds nothing.

    UNet2DConditionModel has no transformers without one. width: of the context that it does not hear.
    """
    zeros: dict[str, Tensor] = {}
    for name, tensor in theirs.items():
        if match := SELF_ATTENTION.fullmatch(name):
            shape = (len(tensor), width) if match[3] in OF_CONTEXT else tuple(tensor.shape)
            zeros[f"{match[1]}{match[2].replace('1', '2')}{match[3]}"] = tensor.new_zeros(shape)
    return {**theirs, **zeros}


def unsilenced(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reverse: without the cross-attentions."""
    return {name: tensor for name, tensor in theirs.items() if not CROSS_ATTENTION.fullmatch(name)}


def _deep(tensor: Tensor) -> Tensor:
    return tensor[..., None] if tensor.ndim == 2 else tensor


def deepest(options: UNetOptions) -> int:
    """The largest number of transformer blocks at a level; 0 is plain attention everywhere."""
    depth = options.transformer_depth
    return depth if isinstance(depth, int) else max(depth)
