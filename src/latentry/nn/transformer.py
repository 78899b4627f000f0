"""The spatial transformer: a feature map's pixels as tokens that attend to each other and to a context."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from latentry.errors import UsageError
from latentry.nn.attention import Attention, KeyValue, Pointwise, Signals, to_map, to_tokens
from latentry.nn.blocks import norm, zero_module
from latentry.nn.forms.cpu import Linear


class GatedFeedForward(nn.Module):
    """Linear, gated by the exact GELU of its other half, then linear (GEGLU, Shazeer 2020)."""

    def __init__(self, width: int, factor: int = 4) -> None:
        super().__init__()
        self.expand = Linear(width, 2 * factor * width)
        self.reduce = Linear(factor * width, width)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.expand(x).chunk(2, dim=-1)  # (B, L, 4D) each
        result: Tensor = self.reduce(value * F.gelu(gate))  # (B, L, D)
        return result


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention and feed-forward, each normalised before and added after.

    context_width: of the context's tokens; None leaves the cross-attention out.
    """

    def __init__(self, width: int, *, heads: int, head_width: int, context_width: int | None) -> None:
        super().__init__()
        self.norm_self = nn.LayerNorm(width)
        self.self_attention = Attention(width, heads=heads, head_width=head_width)
        self.norm_cross: nn.LayerNorm | None = None
        self.cross_attention: Attention | None = None
        if context_width is not None:
            self.norm_cross = nn.LayerNorm(width)
            self.cross_attention = Attention(width, heads=heads, head_width=head_width, context_width=context_width)
        self.norm_feed_forward = nn.LayerNorm(width)
        self.feed_forward = GatedFeedForward(width)

    def forward(self, x: Tensor, signals: Signals) -> Tensor:
        """x (B, L, D) -> (B, L, D)."""
        own = self.self_attention
        x = x + own(self.norm_self(x), edit=signals.edit(own.path))
        if self.norm_cross is not None and self.cross_attention is not None:
            cross = self.cross_attention
            edit = signals.edit(cross.path)
            x = x + cross(self.norm_cross(x), _context(cross, signals), mask=signals.context_mask, edit=edit)
        result: Tensor = x + self.feed_forward(self.norm_feed_forward(x))
        return result


def _context(attention: Attention, signals: Signals) -> KeyValue:
    if signals.context_kv is not None:
        return KeyValue(*signals.context_kv[attention.order])
    if signals.context is None:
        raise UsageError("spatial transformer: no context was given; it needs `context` (B, L, D) or `context_kv`.")
    return attention.project(signals.context)


class SpatialTransformer(nn.Module):
    """`depth` transformer blocks over the pixels of a feature map, added to it.

    Raises UsageError where `heads` does not divide `channels`.
    Source: Rombach et al. 2022, section 3.3 and appendix E.2.1.
    """

    def __init__(
        self, channels: int, *, heads: int, depth: int = 1, context_width: int | None = None, norm_groups: int = 32
    ) -> None:
        super().__init__()
        if channels % heads:
            raise UsageError(f"attention: {heads} heads do not divide {channels} channels. Change either of them.")
        self.norm = norm(channels, norm_groups, eps=1e-6)
        self.proj_in = Pointwise(channels, channels, dims=2)
        self.blocks = nn.ModuleList(
            TransformerBlock(channels, heads=heads, head_width=channels // heads, context_width=context_width)
            for _ in range(depth)
        )
        self.proj_out = zero_module(Pointwise(channels, channels, dims=2))

    def forward(self, x: Tensor, signals: Signals) -> Tensor:
        tokens = self.proj_in(to_tokens(self.norm(x)))  # (B, HW, C)
        for block in self.blocks:
            tokens = block(tokens, signals)
        return x + to_map(self.proj_out(tokens), *x.shape[2:])  # (B, C, H, W)
