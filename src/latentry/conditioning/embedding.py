"""Vectors made elsewhere, such as CLIP embeddings of retrieved neighbours, for cross-attention."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from torch import Tensor

from latentry.conditioning.arrays import Arrays, numbers
from latentry.conditioning.base import BuildContext
from latentry.conditioning.cond import Cond
from latentry.kinds import Kind, KindOptions


class EmbeddingOptions(KindOptions):
    """Options of `embedding`. width: of each vector."""

    kind: Literal["embedding"] = "embedding"
    width: int = Field(default=768, ge=1)


class Embedding(Arrays):
    """Vectors (L, width), or one (width,), are attended to as they are. The null is zeros, as published.

    Source: Blattmann et al. 2022, retrieval-augmented diffusion models.
    """

    def __init__(self, options: EmbeddingOptions) -> None:
        super().__init__()
        self.options: EmbeddingOptions = options
        self.takes = f"a tensor (L, {options.width})"
        self.context_width = options.width

    def tensors(self, value: Any) -> tuple[Tensor]:
        vectors = numbers(value, 1, 2).float()
        if vectors.shape[-1] != self.options.width:
            raise ValueError(f"vectors of width {vectors.shape[-1]}")
        return (vectors.reshape(-1, self.options.width),)  # (L, D)

    def read(self, *columns: Tensor) -> Cond:
        (context,) = columns  # (B, L, D)
        return Cond(context=context)


def build(options: EmbeddingOptions, context: BuildContext) -> Embedding:
    """Build from options alone."""
    return Embedding(options)


KIND = Kind(EmbeddingOptions, build)
