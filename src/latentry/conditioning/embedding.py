"""Vectors made elsewhere, such as CLIP embeddings of retrieved neighbours, for cross-attention."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import Field

from latentry.conditioning.base import Arrays, BuildContext, stacked
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

    def read(self, values: list[Any]) -> Cond:
        rows = [torch.as_tensor(value) for value in values]
        context = stacked([row[None] if row.ndim == 1 else row for row in rows], 2).float()  # (B, L, D)
        if context.shape[2] != self.options.width:
            raise ValueError(f"vectors of width {context.shape[2]}")
        return Cond(context=context)


def build(options: EmbeddingOptions, context: BuildContext) -> Embedding:
    """Build from options alone."""
    return Embedding(options)


KIND = Kind(EmbeddingOptions, build)
