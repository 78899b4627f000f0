"""Vectors made elsewhere: CLIP embeddings of retrieved neighbours, measurements, probabilities of classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from torch import Tensor, nn

from latentry.bounds import Width
from latentry.conditioning.arrays import Arrays, numbers
from latentry.conditioning.base import BuildContext, ConditionerKind
from latentry.conditioning.cond import Cond
from latentry.data.files.header import Array
from latentry.data.sample import Sample
from latentry.errors import UsageError, did_you_mean
from latentry.kinds import KindOptions

HIDDEN = 256


class EmbeddingOptions(KindOptions):
    """Options of `embedding`.

    width: of each vector. field: of the data, which holds the vectors of each image; default: the only such field.
    via: `context` (attended to as they are, any number of them; null is this), or `vector`: a single one, such as some
    measurements, which a learned linear map of `hidden` values (null: 256) adds to the time embedding.
    """

    kind: Literal["embedding"] = "embedding"
    width: Width = 768
    field: str | None = None
    via: Literal["context", "vector"] | None = None
    hidden: Width | None = None


class Embedding(Arrays):
    """Vectors (L, width), or one (width,). The null is zeros: as published; after the map, so a vector of zeros is one.

    Source: Blattmann et al. 2022, retrieval-augmented diffusion models.
    """

    reads = frozenset({"arrays"})

    def __init__(self, options: EmbeddingOptions) -> None:
        super().__init__()
        self.options: EmbeddingOptions = options
        single = options.via == "vector"
        self.takes = f"a vector of {options.width} numbers" if single else f"an array (L, {options.width}) of vectors"
        hidden = options.hidden or HIDDEN
        self.project = nn.Linear(options.width, hidden) if single else None
        self.context_width = None if single else options.width
        self.vector_width = hidden if single else None

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

    def asked(self, value: Any, size: tuple[int, int]) -> Any:
        self._columns([value])
        return value

    def tensors(self, value: Any) -> tuple[Tensor]:
        vectors = numbers(value, 1, 2).float()
        if vectors.shape[-1] != self.options.width:
            raise ValueError(f"vectors of width {vectors.shape[-1]}")
        if self.project is not None and len(vectors.reshape(-1, self.options.width)) != 1:
            raise ValueError(f"{len(vectors)} vectors")
        if not vectors.isfinite().all():
            raise ValueError("a vector with values that are not finite")
        return (vectors.reshape(-1, self.options.width),)  # (L, D)

    def read(self, *columns: Tensor) -> Cond:
        (vectors,) = columns  # (B, L, D)
        if self.project is None:
            return Cond(context=vectors)
        return Cond(vector=self.project(vectors[:, 0].to(self.project.weight)))  # (B, E)


def build(options: EmbeddingOptions, context: BuildContext) -> Embedding:
    """Build from options alone."""
    return Embedding(options)


KIND = ConditionerKind(EmbeddingOptions, build, Embedding)
