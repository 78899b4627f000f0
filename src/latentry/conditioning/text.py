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

from latentry.bounds import Heads, Layers, Length, Rows, Width
from latentry.conditioning.base import BuildContext, ConditionerKind
from latentry.conditioning.cond import Cond
from latentry.conditioning.words import tokenizer as tokens
from latentry.conditioning.words.prompts import Prompts
from latentry.errors import UsageError
from latentry.kinds import KindOptions
from latentry.nn.text.encoder import TextTransformer

FILE = "tokenizer.json"


class TextOptions(KindOptions):
    """Options of `text`; the defaults of heads and length are those of the paper's text-to-image model.

    width, layers, heads, head_channels: of the transformer. length: tokens of every prompt, the two at its ends
    included; longer prompts are cut. pooled: a mean is also a vector, added to the time embedding, from which small
    models learn what a prompt means far sooner than by cross-attention alone: `tokens`, of what the transformer says;
    `words`, of the words by themselves, so that combinations that were not in training are understood better; or
    `each`: every word is embedded by itself and the mean is taken behind that, where no layer has seen them together.
    drop_words: probability, for each token of a prompt by itself, of becoming the unknown token in training, so that
    a prompt with words that were not in training is understood by its others.
    vocabulary: the largest size of the vocabulary trained on the captions, or the path of BERT's vocab.txt or of a
    tokenizer.json.
    tokens: of which the vocabulary trained on the captions is: `pieces` of words, from which new words are spelt, or
    whole `words`, where a new word is the unknown token: with `drop_words` that is understood as a word left out, while
    its pieces would say what they say in other words.
    """

    kind: Literal["text"] = "text"
    width: Width = 256
    layers: Layers = 4
    heads: Heads = 8
    head_channels: Width = 64
    length: Length = Field(default=77, ge=3)
    pooled: Literal["tokens", "words", "each"] | None = None
    drop_words: float = Field(default=0.0, ge=0, lt=1)
    vocabulary: Rows | str = 4096
    tokens: Literal["pieces", "words"] = "pieces"


class Text(Prompts):
    """Prompts to a context (B, length, width), without a mask: padding takes part, as in the paper's model.

    With `pooled` also to a vector (B, width), or of `each` word one (B, length, width).

    The empty prompt is the null. With `drop_words` the tokenizer needs an unknown token.
    """

    file = FILE
    missing = "FILE, the vocab.txt of bert-base-uncased"

    def __init__(self, options: TextOptions, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer)
        self.options: TextOptions = options
        self.context_width = options.width
        self.vector_width = options.width if options.pooled else None
        self.transformer = TextTransformer(
            vocabulary=self.rows,
            length=options.length,
            width=options.width,
            layers=options.layers,
            heads=options.heads,
            head_channels=options.head_channels,
        )

    @classmethod
    def further(cls, options: KindOptions, name: str, factor: int) -> dict[str, Any]:
        own, most = options.model_dump(), TextOptions().vocabulary
        new_words = own["tokens"] == "words"  # of the new captions, beside those that the model knows
        return own | ({"vocabulary": max(own["vocabulary"], most)} if new_words else {})

    def encode(self, values: Sequence[Any] | Tensor) -> Cond:
        ids = self._dropped(self.ids(values))  # (B, L)
        context = self.transformer(ids)  # (B, L, D)
        return Cond(context=context, vector=self._pooled(ids, context))

    def _dropped(self, ids: Tensor) -> Tensor:
        """(B, length) with some tokens unknown in training; never those around and behind the words."""
        if not (self.training and self.options.drop_words):
            return ids
        unknown = self.tokenizer.token_to_id(tokens.UNKNOWN)
        assert unknown is not None  # `build` asks for it
        words = ~torch.isin(ids, self.tokenize([""]).to(ids))
        drawn = torch.rand(ids.shape, device=ids.device) < self.options.drop_words
        return ids.masked_fill(words & drawn, unknown)

    def _pooled(self, ids: Tensor, context: Tensor) -> Tensor | None:
        """(B, width), (B, length, width) or None."""
        width = (self.options.width,)
        if self.options.pooled == "words":
            return F.layer_norm(self.transformer.token(ids).mean(1), width)
        if self.options.pooled == "each":
            return F.layer_norm(self.transformer.token(ids), width)
        return context.mean(1) if self.options.pooled else None


@torch.no_grad()
def rows_of(own: Text, other: Text) -> tuple[Tensor, list[str]]:
    """The rows of `own`, each the mean of those of another model for the same word, and the words unknown to that."""
    rows, theirs = own.transformer.token.weight.clone(), other.transformer.token.weight
    vocabulary, unknown, new = other.tokenizer.get_vocab(), other.tokenizer.token_to_id(tokens.UNKNOWN), []
    for word, row in own.tokenizer.get_vocab().items():
        if word in vocabulary:
            rows[row] = theirs[vocabulary[word]]
            continue
        encoded = other.tokenizer.encode(word, add_special_tokens=False)
        pieces = [number for number, real in zip(encoded.ids, encoded.attention_mask, strict=True) if real]
        if pieces and unknown not in pieces:
            rows[row] = theirs[pieces].mean(0)
        else:
            new.append(word)
    return rows, sorted(new)


def build(options: TextOptions, context: BuildContext) -> Text:
    """Build with the tokenizer among `context.files`, else with that of `options.vocabulary`, else train one here.

    Files and captions together (see `BuildContext`): whole words of the captions are added to the files' vocabulary.
    """
    words = options.tokens == "words"
    if words and isinstance(options.vocabulary, str):
        raise UsageError(
            f"conditioning text: vocabulary is {options.vocabulary}, but tokens are words of the captions. "
            "Set it to a number, or tokens to pieces."
        )
    if FILE in context.files:
        tokenizer = tokens.parse(context.files[FILE], FILE)
        if words and context.captions:  # training begins from the model that left the file
            tokenizer = tokens.train_words(context.captions, int(options.vocabulary), tokens.by_number(tokenizer))
    elif isinstance(options.vocabulary, str):
        tokenizer = tokens.read(Path(options.vocabulary).expanduser())
    elif not any(context.captions):
        raise UsageError(
            "conditioning text: the data has no captions; known: `text` in metadata.jsonl. "
            "Give the data captions or take this conditioner out."
        )
    else:
        tokenizer = (tokens.train_words if words else tokens.train)(context.captions, options.vocabulary)
    if options.drop_words and tokenizer.token_to_id(tokens.UNKNOWN) is None:
        raise UsageError(f"conditioning text: drop_words needs a vocabulary with {tokens.UNKNOWN}. Set it to 0.")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    cut = tokens.count_longer(tokenizer, context.captions, options.length)
    if context.captions:
        context.report(f"text: {cut} of {len(context.captions)} captions are cut at {options.length} tokens")
    tokens.fix_length(tokenizer, options.length)
    return Text(options.model_copy(update={"vocabulary": tokenizer.get_vocab_size()}), tokenizer)


KIND = ConditionerKind(TextOptions, build, Text)
