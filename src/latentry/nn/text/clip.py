"""The text half of CLIP, whose modules keep the names that its published weights have."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentry.errors import UsageError
from latentry.nn.attention import join_heads, split_heads


def quick_gelu(x: Tensor) -> Tensor:
    """x sigmoid(1.702 x), the GELU that CLIP was trained with."""
    return x * torch.sigmoid(1.702 * x)


class CausalAttention(nn.Module):
    """Self-attention in which a token sees itself and those before it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (split_heads(part(x), self.heads) for part in (self.q_proj, self.k_proj, self.v_proj))
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, heads, L, d)
        result: Tensor = self.out_proj(join_heads(attended))  # (B, L, width)
        return result


class FeedForward(nn.Module):
    """Linear to four times the width, quick GELU, linear back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.fc2(quick_gelu(self.fc1(x)))
        return result


class Layer(nn.Module):
    """Attention and feed-forward, each normalised before and added after."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.layer_norm1, self.self_attn = nn.LayerNorm(width), CausalAttention(width, heads)
        self.layer_norm2, self.mlp = nn.LayerNorm(width), FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))  # (B, L, width)
        result: Tensor = x + self.mlp(self.layer_norm2(x))
        return result


class Embeddings(nn.Module):
    """A learned vector for each token and each position."""

    def __init__(self, vocabulary: int, length: int, width: int) -> None:
        super().__init__()
        self.token_embedding, self.position_embedding = nn.Embedding(vocabulary, width), nn.Embedding(length, width)

    def forward(self, ids: Tensor) -> Tensor:
        result: Tensor = self.token_embedding(ids) + self.position_embedding.weight[: ids.shape[1]]
        return result


class Encoder(nn.Module):
    """The layers, one after another."""

    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class ClipTextModel(nn.Module):
    """Embeddings, layers and a last norm."""

    def __init__(self, vocabulary: int, length: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.embeddings = Embeddings(vocabulary, length, width)
        self.encoder = Encoder(width, heads, layers)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, ids: Tensor) -> Tensor:
        result: Tensor = self.final_layer_norm(self.encoder(self.embeddings(ids)))
        return result


class ClipText(nn.Module):
    """Token ids to one vector per token.

    vocabulary: number of token ids. length: most tokens of a text. width: of the vectors, which `heads` divides.
    Source: Radford et al. 2021, section 2.4; the layers of Rombach et al.'s Stable Diffusion 1.
    """

    def __init__(self, *, vocabulary: int, length: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        if width % heads:
            raise UsageError(f"clip text: {heads} heads do not divide the width {width}. Change either of them.")
        self.text_model = ClipTextModel(vocabulary, length, width, heads, layers)

    def forward(self, ids: Tensor) -> Tensor:
        """ids (B, L) -> (B, L, width)."""
        result: Tensor = self.text_model(ids)
        return result
