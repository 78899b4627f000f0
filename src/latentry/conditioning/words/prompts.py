"""What the conditioners that read prompts have in common: a tokenizer, and the empty prompt as the null."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from latentry.conditioning.base import Conditioner
from latentry.conditioning.cond import Cond
from latentry.conditioning.words import tokenizer as tokens
from latentry.data.sample import Sample
from latentry.devices import sent
from latentry.errors import UsageError, shown


class Prompts(Conditioner):
    """A conditioner of prompts. `encode` takes texts, None for the empty one, or token numbers (B, length).

    tokenizer: already cutting and padding to the options' length.
    """

    reads = frozenset({"caption"})
    file: ClassVar[str]
    """The name of the tokenizer's file."""
    missing: ClassVar[str]
    """What to import a model again with that came without its vocabulary, for errors."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tokenizer, self.knows_words = tokenizer, tokens.knows_words(tokenizer)
        self.rows = max(tokenizer.get_vocab().values()) + 1

    def value(self, sample: Sample, rng: Callable[[], np.random.Generator]) -> str:
        return sample.caption

    def tokenize(self, texts: Sequence[str | None]) -> Tensor:
        """Token numbers (B, length) of prompts; None is the empty prompt."""
        for text in texts:
            if not isinstance(text, str | None):
                raise UsageError(f"text: {shown(repr(text))} is not a text. Give prompts as texts.")
            if text and not self.knows_words:
                raise UsageError(
                    "text: this model came without its vocabulary, so it reads no words. Import it again with "
                    f"--vocabulary {self.missing}."
                )
        return torch.tensor([self.tokenizer.encode(tokens.clean(text or "")).ids for text in texts])

    def unknown(self, text: str) -> list[str]:
        """The words of a prompt that have no token."""
        text, number = tokens.clean(text), self.tokenizer.token_to_id(tokens.UNKNOWN)
        encoded = self.tokenizer.encode(text)
        words = [text[a:b] for token, (a, b) in zip(encoded.ids, encoded.offsets, strict=True) if token == number]
        return list(dict.fromkeys(word for word in words if any(map(str.isalnum, word))))

    def ids(self, values: Sequence[Any] | Tensor) -> Tensor:
        """Token numbers (B, length) of what `encode` takes, where the weights are."""
        ids = values if isinstance(values, Tensor) else self.tokenize(values)
        return sent(ids, self.device)

    def null(self, batch: int, values: Sequence[Any] | Tensor | None = None) -> Cond:
        return self.encode([""]).map(lambda part: part.expand(batch, *part.shape[1:]))

    def files(self) -> dict[str, str]:
        return {self.file: self.tokenizer.to_str(pretty=True)}
