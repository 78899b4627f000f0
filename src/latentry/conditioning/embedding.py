"""Vectors made elsewhere, such as CLIP embeddings of retrieved neighbours, for cross-attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from torch import Tensor

from latentry.bounds import Width
from latentry.conditioning.arrays import Arrays, numbers
from latentry.conditioning.base import BuildContext, ConditionerKind
from latentry.conditioning.cond import Cond
from latentry.data.files.header import Array
from latentry.data.sample import Sample
from latentry.errors import UsageError, did_you_mean
from latentry.kinds import KindOptions


class EmbeddingOptions(KindOptions):
    """Options of `embedding`.

    width: of each vector. field: of the data, which holds the vectors of each image; default: the only such field.
    """

    kind: Literal["embedding"] = "embedding"
    width: Width = 768
    field: str | None = None


class Embedding(Arrays):
    """Vectors (L, width), or one (width,), are attended to as they are. The null is zeros, as published.

    Source: Blattmann et al. 2022, retrieval-augmented diffusion models.
    """

    reads = frozenset({"arrays"})

    def __init__(self, options: EmbeddingOptions) -> None:
        super().__init__()
        self.options: EmbeddingOptions = options
        self.takes = f"a tensor (L, {options.width})"
        self.context_width = options.width

    @classmethod
    def further(cls, options: KindOptions, name: str, factor: int) -> dict[str, Any]:
        own = options.model_dump()
        return own | {"field": own["field"] or name}

    def value(self, sample: Sample, rng: Callable[[], np.random.Generator]) -> Array | None:
        field, fields = self.options.field, ", ".join(sample.arrays) or "none"
        if field is None and len(sample.arrays) > 1:
            raise UsageError(f"embedding: the data has several fields of arrays: {fields}. Set field to one of them.")
        if field is not None and field not in sample.arrays:
            raise UsageError(f"embedding: no array {field}; known: {fields}{did_you_mean(field, sample.arrays)}")
        return sample.arrays[field or next(iter(sample.arrays))] if sample.arrays else None

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


KIND = ConditionerKind(EmbeddingOptions, build, Embedding)
