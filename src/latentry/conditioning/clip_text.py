"""A text prompt, read by CLIP's text encoder as in Stable Diffusion 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field
from tokenizers import Tokenizer
from torch import Tensor

from latentry.bounds import Heads, Layers, Length, Width
from latentry.conditioning.base import BuildContext, ConditionerKind
from latentry.conditioning.cond import Cond
from latentry.conditioning.words.clip_tokenizer import clip_tokenizer, parts
from latentry.conditioning.words.prompts import Prompts
from latentry.errors import UsageError
from latentry.kinds import KindOptions
from latentry.nn.text.clip import ClipText

FILE = "clip_tokenizer.json"


class ClipTextOptions(KindOptions):
    """Options of `clip_text`; the defaults are those of Stable Diffusion 1 (CLIP ViT-L/14).

    width, layers, heads: of the transformer. length: tokens of every prompt, the two at its ends included; longer
    prompts are cut.
    """

    kind: Literal["clip_text"] = "clip_text"
    width: Width = 768
    layers: Layers = 12
    heads: Heads = 12
    length: Length = Field(default=77, ge=3)


class ClipPrompt(Prompts):
    """Prompts to a context (B, length, width): the last layer's tokens, normalised.

    The empty prompt is the null. tokenizer: of `clip_tokenizer`.
    """

    file = FILE
    missing = "FOLDER, one with the vocab.json and merges.txt of CLIP"

    def __init__(self, options: ClipTextOptions, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer)
        self.options: ClipTextOptions = options
        self.context_width = options.width
        self.transformer = ClipText(
            vocabulary=self.rows,
            length=options.length,
            width=options.width,
            heads=options.heads,
            layers=options.layers,
        )

    def encode(self, values: Sequence[Any] | Tensor) -> Cond:
        return Cond(context=self.transformer(self.ids(values)))  # (B, L) -> (B, L, D)


def build(options: ClipTextOptions, context: BuildContext) -> ClipPrompt:
    """Build with the tokenizer among `context.files`."""
    if FILE not in context.files:
        raise UsageError(
            f"conditioning clip_text: the data has no {FILE}; known: models imported from Stable Diffusion carry it. "
            "Import one, or use the conditioner `text`, which makes its own."
        )
    vocabulary, merges, pad = parts(context.files[FILE], FILE)
    return ClipPrompt(options, clip_tokenizer(vocabulary, merges, options.length, pad))


KIND = ConditionerKind(ClipTextOptions, build, ClipPrompt)
