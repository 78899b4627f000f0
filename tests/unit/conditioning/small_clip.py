"""A vocabulary like CLIP's, made here: all bytes, alone and at a word's end, and the merges of a few words."""

from __future__ import annotations

from tokenizers import pre_tokenizers

from latentry.conditioning.words.clip_tokenizer import END, START, clip_tokenizer

MERGES = [("r", "e"), ("re", "d</w>"), ("c", "i"), ("ci", "r"), ("o", "n</w>"), ("'", "s</w>"), ("1", "2")]


def vocabulary() -> dict[str, int]:
    """The numbers of all tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = [*letters, *(letter + "</w>" for letter in letters), *("".join(pair) for pair in MERGES), START, END]
    return {token: number for number, token in enumerate(made)}


def clip_text(length: int = 77) -> str:
    """The text of its tokenizer, as models keep it."""
    return clip_tokenizer(vocabulary(), MERGES, length).to_str(pretty=True)
