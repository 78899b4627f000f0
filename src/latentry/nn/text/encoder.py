"""The paper's text encoder: an unmasked transformer over token ids, trained with the denoiser."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from latentry.errors import UsageError
from latentry.nn.attention import Attention


class FeedForward(nn.Module):
    """Linear to four times the width, exact GELU, linear back."""

    def __init__(self, width: int, factor: int = 4) -> None:
        super().__init__()
        self.expand = nn.Linear(width, factor * width)
        self.reduce = nn.Linear(factor * width, width)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.reduce(F.gelu(self.expand(x)))
        return result


class TextBlock(nn.Module):
    """Self-attention and feed-forward, each normalised before and added after."""

    def __init__(self, width: int, heads: int, head_channels: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, heads=heads, head_width=head_channels)
        self.norm_feed_forward = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm_attention(x))  # (B, L, width)
        result: Tensor = x + self.feed_forward(self.norm_feed_forward(x))
        return result


class TextTransformer(nn.Module):
    """Token ids to one vector per token.

    vocabulary: number of token ids. length: most tokens of a text. width: of the vectors. layers: number of blocks.
    heads, head_channels: of the attention, whatever the width. Padding takes part like any other token.
    Source: Rombach et al. 2022, appendix E.2.1.
    """

    def __init__(
        self, *, vocabulary: int, length: int, width: int, layers: int, heads: int = 8, head_channels: int = 64
    ) -> None:
        super().__init__()
        self.length = length
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(length, width)
        self.layers = nn.ModuleList(TextBlock(width, heads, head_channels) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        # Words begin far apart (published: 0.02): else those whose images look alike at first, such as stars and
        # triangles, are drawn together and told apart late.
        nn.init.normal_(self.token.weight, std=1.0)
        nn.init.normal_(self.position.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        """ids (B, L) -> (B, L, width). Raises UsageError for more than `length` tokens."""
        tokens = ids.shape[1]
        if tokens > self.length:
            raise UsageError(f"text encoder: {tokens} tokens; it was built for at most {self.length}. Cut the text.")
        x = self.token(ids) + self.position.weight[:tokens]  # (B, L, width)
        for layer in self.layers:
            x = layer(x)
        result: Tensor = self.norm(x)
        return result
