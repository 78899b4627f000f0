"""Conditioners: labels, texts and other values to the conditions of a denoiser."""

from latentry.conditioning import class_label, clip_text, embedding, grey, image, layout, masked, semantic, text
from latentry.conditioning.base import (
    Blend,
    BuildContext,
    Conditioner,
    ConditionerKind,
    encoded,
    ends,
    reads_of,
    values_of,
)
from latentry.conditioning.cond import Cond, batch, combine, where

# Each entry is built as build(CONDITIONERS, options, BuildContext(...)).
CONDITIONERS: dict[str, ConditionerKind] = {
    "class_label": class_label.KIND,
    "text": text.KIND,
    "clip_text": clip_text.KIND,
    "layout": layout.KIND,
    "semantic": semantic.KIND,
    "image": image.KIND,
    "masked": masked.KIND,
    "grey": grey.KIND,
    "embedding": embedding.KIND,
}

__all__ = [
    "CONDITIONERS",
    "Blend",
    "BuildContext",
    "Cond",
    "Conditioner",
    "ConditionerKind",
    "batch",
    "combine",
    "encoded",
    "ends",
    "reads_of",
    "values_of",
    "where",
]
