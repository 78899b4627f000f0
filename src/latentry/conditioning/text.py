"""A text prompt, read by a small transformer that learns together with the denoiser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from tokenizers import Tokenizer
from torch import Tensor

from latentry.conditioning import tokenizer as tokens
from latentry.conditioning.base import BuildContext, Conditioner
from latentry.conditioning.cond import Cond
from latentry.errors import UsageError
from latentry.kinds import Kind, KindOptions
from latentry.nn.text_encoder import TextTransformer

FILE = "tokenizer.json"


class TextOptions(KindOptions):
    """Options of `text`; the defaults of heads and length are those of the paper's text-to-image model.

    width, layers, heads, head_channels: of the transformer. length: tokens of every prompt, the two at its ends
    included; longer prompts are cut. pooled: a mean is also a vector, added to the time embedding, from which small
    models learn what a prompt means far sooner than by cross-attention alone: `tokens`, of what the transformer says,
    or `words`, of the words by themselves, so that combinations that were not in training are understood better.
    vocabulary: the largest size of the vocabulary trained on the captions, or the path of BERT's vocab.txt or of a
    tokenizer.json.
    """

    kind: Literal["text"] = "text"
    width: int = Field(default=256, ge=1)
    layers: int = Field(default=4, ge=1)
    heads: int = Field(default=8, ge=1)
    head_channels: int = Field(default=64, ge=1)
    length: int = Field(default=77, ge=3)
    pooled: Literal["tokens", "words"] | None = None
    vocabulary: int | str = 4096


class Text(Conditioner):
    """Prompts to a context (B, length, width), without a mask: padding takes part, as in the paper's model.

    With `pooled` also to a vector (B, width).

    The empty prompt is the null. `encode` also takes token numbers (B, length) as a tensor.
    tokenizer: already cutting and padding to `options.length`.
    """

    def __init__(self, options: TextOptions, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.options: TextOptions = options
        self.tokenizer, self.knows_words = tokenizer, tokens.knows_words(tokenizer)
        self.context_width = options.width
        self.vector_width = options.width if options.pooled else None
        self.transformer = TextTransformer(
            vocabulary=max(tokenizer.get_vocab().values()) + 1,
            length=options.length,
            width=options.width,
            layers=options.layers,
            heads=options.heads,
            head_channels=options.head_channels,
        )

    def tokenize(self, texts: Sequence[str | None]) -> Tensor:
        """Token numbers (B, length) of prompts; None is the empty prompt."""
        for text in texts:
            if not isinstance(text, str | None):
                raise UsageError(f"text: {text!r} is not a text. Give prompts as texts.")
            if text and not self.knows_words:
                raise UsageError(
                    "text: this model came without its vocabulary, so it reads no words. Import it again with "
                    "--vocabulary FILE, the vocab.txt of bert-base-uncased."
                )
        return torch.tensor([self.tokenizer.encode(tokens.clean(text or "")).ids for text in texts])

    def encode(self, values: Sequence[Any] | Tensor) -> Cond:
        ids = values if isinstance(values, Tensor) else self.tokenize(values)  # (B, L)
        ids = ids.to(next(self.parameters()).device)
        context = self.transformer(ids)  # (B, L, D)
        return Cond(context=context, vector=self._pooled(ids, context))

    def _pooled(self, ids: Tensor, context: Tensor) -> Tensor | None:
        """(B, width), or None."""
        if self.options.pooled == "words":
            return F.layer_norm(self.transformer.token(ids).mean(1), (self.options.width,))
        return context.mean(1) if self.options.pooled else None

    def null(self, batch: int, values: Sequence[Any] | Tensor | None = None) -> Cond:
        return self.encode([""]).map(lambda part: part.expand(batch, *part.shape[1:]))

    def files(self) -> dict[str, str]:
        return {FILE: self.tokenizer.to_str(pretty=True)}


def build(options: TextOptions, context: BuildContext) -> Text:
    """Build with the tokenizer among `context.files`, else with the given vocabulary, else with one trained here."""
    if FILE in context.files:
        tokenizer = tokens.parse(context.files[FILE], FILE)
    elif isinstance(options.vocabulary, str):
        tokenizer = tokens.read(Path(options.vocabulary).expanduser())
    elif not any(context.captions):
        raise UsageError(
            "conditioning text: the data has no captions; known: `text` in metadata.jsonl. "
            "Give the data captions or take this conditioner out."
        )
    else:
        tokenizer = tokens.train(context.captions, options.vocabulary)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    cut = tokens.count_longer(tokenizer, context.captions, options.length)
    if context.captions:
        context.report(f"text: {cut} of {len(context.captions)} captions are cut at {options.length} tokens")
    tokens.fix_length(tokenizer, options.length)
    return Text(options.model_copy(update={"vocabulary": tokenizer.get_vocab_size()}), tokenizer)


KIND = Kind(TextOptions, build)
