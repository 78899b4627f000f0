"""Attention: over tokens, over the pixels of a feature map, and what one forward pass hands to every attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentry.errors import UsageError
from latentry.nn.blocks import norm, zero_module
from latentry.nn.forms.cpu import Linear, linear

Edit = Callable[[Tensor], Tensor]
"""probabilities (B, heads, queries, keys) -> probabilities of the same shape"""


class KeyValue(NamedTuple):
    """Keys and values of one attention, each (B, heads, L, head width)."""

    key: Tensor
    value: Tensor


class Signals(NamedTuple):
    """What one forward pass of a UNet hands to all its blocks.

    time: (B or 1, E). context: (B, L, D). context_mask: (B, 1, 1, L), True where a token takes part.
    context_kv: keys and values of every cross-attention in order of use, instead of `context`.
    edits: by the name of an attention module, what to do with its probabilities.
    """

    time: Tensor
    context: Tensor | None = None
    context_mask: Tensor | None = None
    context_kv: Sequence[tuple[Tensor, Tensor]] | None = None
    edits: Mapping[str, Edit] = {}

    def edit(self, name: str) -> Edit | None:
        """The edit of the attention with this name, if any."""
        return self.edits.get(name) if self.edits else None


def attend(q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None = None, edit: Edit | None = None) -> Tensor:
    """Scaled dot-product attention, softmax(q k^T / sqrt(d)) v.

    q (B, heads, Q, d), k and v (B, heads, L, d) -> (B, heads, Q, d).
    mask: bool, broadcast to (B, heads, Q, L), True where a key takes part; a query without any key gives zeros.
    edit: changes the probabilities (B, heads, Q, L) before they meet the values; costs their memory.
    """
    if edit is None and mask is None and _few_pairs_on_cpu(q, k):
        return (q * q.shape[-1] ** -0.5 @ k.transpose(-1, -2)).softmax(dim=-1) @ v  # (B, heads, Q, d)
    if edit is None:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    scores = (q.float() @ k.float().transpose(-1, -2)) * q.shape[-1] ** -0.5  # (B, heads, Q, L)
    if mask is None:
        probabilities = scores.softmax(dim=-1)
    else:
        lowest = torch.finfo(scores.dtype).min
        probabilities = scores.masked_fill(~mask, lowest).softmax(dim=-1).masked_fill(~mask, 0.0)
    return edit(probabilities).to(v.dtype) @ v  # (B, heads, Q, d)


def _few_pairs_on_cpu(q: Tensor, k: Tensor) -> bool:
    """Where torch's fused attention is slow: its bf16 backward on the CPU takes 5 times as long for 64 tokens."""
    few = q.shape[-2] * k.shape[-2] <= 2**17
    return few and q.device.type == "cpu" and q.dtype == torch.bfloat16 and torch.is_grad_enabled()


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, L, heads * d) -> (B, heads, L, d), a view."""
    return x.unflatten(2, (heads, -1)).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """(B, heads, L, d) -> (B, L, heads * d)."""
    return x.transpose(1, 2).flatten(2)


def to_tokens(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H * W, C), a view."""
    return x.flatten(2).transpose(1, 2)


def to_map(tokens: Tensor, height: int, width: int) -> Tensor:
    """(B, H * W, C) -> (B, C, H, W), a view."""
    return tokens.transpose(1, 2).unflatten(2, (height, width))


class Pointwise(Linear):
    """A linear map of tokens whose weight is stored as a 1x1 convolution's over `dims` axes, (out, in, 1, ...)."""

    def __init__(self, in_channels: int, out_channels: int, dims: int) -> None:
        super().__init__(in_channels, out_channels)
        self.weight = nn.Parameter(self.weight.detach()[(...,) + (None,) * dims].clone())

    def forward(self, tokens: Tensor) -> Tensor:
        return linear(tokens, self.weight.flatten(1), self.bias)  # (B, L, out)


class Attention(nn.Module):
    """Multi-head attention of tokens to themselves or to a context.

    width: of the tokens, in and out. context_width: of the context's tokens; None attends to the tokens themselves.
    heads, head_width: heads * head_width is the inner width.
    """

    path = ""  # the name of this module within its network, by which an edit finds it
    order = 0  # of the cross-attentions in a network, in the order in which they run, from 0

    def __init__(self, width: int, *, heads: int, head_width: int, context_width: int | None = None) -> None:
        super().__init__()
        inner = heads * head_width
        self.heads = heads
        self.query = Linear(width, inner, bias=False)
        self.key = Linear(context_width or width, inner, bias=False)
        self.value = Linear(context_width or width, inner, bias=False)
        self.out = Linear(inner, width)

    def project(self, source: Tensor) -> KeyValue:
        """Keys and values of (B, L, D); they can be kept as long as the source stays the same."""
        return KeyValue(split_heads(self.key(source), self.heads), split_heads(self.value(source), self.heads))

    def forward(
        self,
        x: Tensor,
        kv: tuple[Tensor, Tensor] | None = None,
        *,
        mask: Tensor | None = None,
        edit: Edit | None = None,
    ) -> Tensor:
        """x (B, L, width) -> (B, L, width), or (B, 1, width) where a context of one token says the same to all.

        kv: of `project`, by default the tokens' own. mask, edit: see `attend`.
        """
        key, value = self.project(x) if kv is None else kv
        if kv is not None and key.shape[2] == 1 and mask is None and edit is None:  # its probability is 1
            alone: Tensor = self.out(join_heads(value))  # (B, 1, width)
            return alone
        query = split_heads(self.query(x), self.heads)  # (B, heads, L, d)
        result: Tensor = self.out(join_heads(attend(query, key, value, mask=mask, edit=edit)))  # (B, L, width)
        return result


class MapAttention(nn.Module):
    """Self-attention over the pixels of a feature map, added to it.

    split_heads_first: how the 3C channels of the projection are read: per head its query, key and value (True, as
    all published weights are), or all queries, all keys, all values, each split into heads.
    Raises UsageError where `heads` does not divide `channels`.
    Source: CompVis latent-diffusion, after Dhariwal and Nichol 2021.
    """

    path = ""  # as in Attention

    def __init__(
        self,
        channels: int,
        *,
        heads: int,
        norm_groups: int = 32,
        split_heads_first: bool = True,
        norm_epsilon: float = 1e-5,
    ) -> None:
        super().__init__()
        if channels % heads:
            raise UsageError(f"attention: {heads} heads do not divide {channels} channels. Change either of them.")
        self.heads = heads
        self.split_heads_first = split_heads_first
        self.norm = norm(channels, norm_groups, norm_epsilon)
        self.qkv = Pointwise(channels, 3 * channels, dims=1)
        self.proj_out = zero_module(Pointwise(channels, channels, dims=1))

    def forward(self, x: Tensor, signals: Signals) -> Tensor:
        qkv = self.qkv(to_tokens(self.norm(x)))  # (B, HW, 3C)
        if self.split_heads_first:
            q, k, v = qkv.unflatten(2, (self.heads, 3, -1)).transpose(1, 2).unbind(3)  # each (B, heads, HW, d)
        else:
            q, k, v = (split_heads(part, self.heads) for part in qkv.chunk(3, dim=2))
        attended = join_heads(attend(q, k, v, edit=signals.edit(self.path)))  # (B, HW, C)
        return x + to_map(self.proj_out(attended), *x.shape[2:])  # (B, C, H, W)
