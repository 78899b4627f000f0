"""Which tokens of an edited prompt stand for which of the original's (Hertz et al. 2022, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import groupby
from typing import NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor

from latentry.conditioning.words.tokenizer import clean


class Unit(NamedTuple):
    """A word, or a token that stands at an end of the prompt: its tokens by number, and their places."""

    ids: tuple[int, ...]
    places: tuple[int, ...]


def units(tokenizer: Tokenizer, text: str) -> list[Unit]:
    """The words of a prompt, as far as it was not cut, and the tokens around them; without padding."""
    encoded = tokenizer.encode(clean(text))
    words = [-1 - place if word is None else word for place, word in enumerate(encoded.word_ids)]
    real = [place for place, taken in enumerate(encoded.attention_mask) if taken]
    grouped = [tuple(places) for _, places in groupby(real, words.__getitem__)]
    return [Unit(tuple(encoded.ids[place] for place in places), places) for places in grouped]


def align(tokenizer: Tokenizer, source: str, edited: str) -> Tensor:
    """(L, L): how much of the attention to each token of `source` (row) goes to each of `edited` (column).

    Words that both have keep theirs, wherever they stand. A word swapped for another hands its attention over: token by
    token, or in equal shares where one has more tokens. The column of an added word is zero.
    """
    before, after = units(tokenizer, source), units(tokenizer, edited)
    length = len(tokenizer.encode("").ids)
    shares = torch.zeros(length, length)

    def hand_over(given: Sequence[Unit], taken: Sequence[Unit]) -> None:
        if len(given) == len(taken) > 1:
            for one, other in zip(given, taken, strict=True):
                hand_over([one], [other])
            return
        rows, columns = ([place for unit in side for place in unit.places] for side in (given, taken))
        alike = len(rows) == len(columns)
        for i, row in enumerate(rows):
            for column in columns[i : i + 1] if alike else columns:
                shares[row, column] = 1 / (1 if alike else len(columns))

    matcher = SequenceMatcher(None, [unit.ids for unit in before], [unit.ids for unit in after], autojunk=False)
    for _, i, j, k, m in matcher.get_opcodes():
        hand_over(before[i:j], after[k:m])
    for place in range(max(1 + side[-1].places[-1] for side in (before, after)), length):
        shares[place, place] = 1  # padding of both
    return shares


def places_of(tokenizer: Tokenizer, text: str, phrase: str) -> list[int]:
    """Where the tokens of a word, or of several in a row, stand in a prompt: of every time they do."""
    within, wanted = (_words(units(tokenizer, one)) for one in (text, phrase))
    ids = [unit.ids for unit in wanted]
    starts = [i for i in range(len(within)) if ids and [unit.ids for unit in within[i : i + len(ids)]] == ids]
    return [place for i in starts for unit in within[i : i + len(ids)] for place in unit.places]


def _words(whole: Sequence[Unit]) -> Sequence[Unit]:
    return whole[1:-1]
