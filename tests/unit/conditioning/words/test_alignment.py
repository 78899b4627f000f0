"""If these fail, an edited prompt's words look where other words of the original looked: the wrong thing changes."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer
from torch import Tensor

from latentry.conditioning.words import tokenizer as tokens
from latentry.conditioning.words.alignment import align, places_of, units
from latentry.conditioning.words.clip_tokenizer import clip_tokenizer
from tests.unit.conditioning.small_clip import MERGES, vocabulary

CAPTIONS = ["a red star on grey", "a big blue circle", "the red star"]
LENGTH = 10


def whole_words() -> Tokenizer:
    tokenizer = tokens.train_words(CAPTIONS, 100)
    tokens.fix_length(tokenizer, LENGTH)
    return tokenizer


def pieces() -> Tokenizer:
    """`red` and `star` are tokens; other words are spelt letter by letter."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = [*tokens.SPECIAL, "red", "star", "a", *letters[1:], *("##" + letter for letter in letters)]
    tokenizer = tokens.from_vocabulary({token: number for number, token in enumerate(vocabulary)})
    tokens.fix_length(tokenizer, LENGTH)
    return tokenizer


def clip() -> Tokenizer:
    return clip_tokenizer(vocabulary(), MERGES, LENGTH)


def handed(shares: Tensor) -> dict[tuple[int, int], float]:
    """What is not zero: (token of the original, token of the edit) -> share."""
    places = [(int(row), int(column)) for row, column in shares.nonzero()]
    return {place: round(float(shares[place]), 6) for place in places}


def one_to_one(**moves: int) -> dict[tuple[int, int], float]:
    return {(int(row[1:]), column): 1.0 for row, column in moves.items()}


def test_a_swap_hands_every_token_to_the_one_in_its_place() -> None:
    assert torch.equal(align(whole_words(), "a red star", "a blue star"), torch.eye(LENGTH))
    assert torch.equal(align(whole_words(), "a red star", "the blue circle"), torch.eye(LENGTH))


def test_added_words_get_nothing_and_the_common_ones_keep_theirs_wherever_they_stand() -> None:
    """[CLS] a star [SEP] _ ... to [CLS] a big red star on grey [SEP] _ ..."""
    expected = one_to_one(_0=0, _1=1, _2=4, _3=7, _8=8, _9=9)
    assert handed(align(whole_words(), "a star", "a big red star on grey")) == expected


def test_what_left_words_had_goes_nowhere() -> None:
    """[CLS] a big red star [SEP] _ ... to [CLS] a star [SEP] _ ...: the padding at 4 and 5 has no counterpart."""
    expected = one_to_one(_0=0, _1=1, _4=2, _5=3, _6=6, _7=7, _8=8, _9=9)
    assert handed(align(whole_words(), "a big red star", "a star")) == expected


def test_a_word_of_several_tokens_is_aligned_as_a_whole() -> None:
    """`red` at 2 becomes b ##l ##u ##e at 2 to 5, a quarter each, and `star` moves from 3 to 6; and the other way."""
    expected = one_to_one(_0=0, _1=1, _3=6, _4=7, _8=8, _9=9) | {(2, place): 0.25 for place in range(2, 6)}
    assert handed(align(pieces(), "a red star", "a blue star")) == expected
    back = one_to_one(_0=0, _1=1, _6=3, _7=4, _8=8, _9=9) | {(place, 2): 1.0 for place in range(2, 6)}
    assert handed(align(pieces(), "a blue star", "a red star")) == back


def test_clips_byte_pairs_are_aligned_by_words_too() -> None:
    """`red` is one token there and `cir` two, in one prompt of [start] red c [end]: c is at 2, then at 4."""
    shares = handed(align(clip(), "red c", "red cir c"))
    assert shares == one_to_one(_0=0, _1=1, _2=len(clip_ids("red cir c")) - 2, _3=len(clip_ids("red cir c")) - 1) | {
        (place, place): 1.0 for place in range(len(clip_ids("red cir c")), LENGTH)
    }


def clip_ids(text: str) -> list[int]:
    encoded = clip().encode(text)
    return [number for number, real in zip(encoded.ids, encoded.attention_mask) if real]


def test_words_of_as_many_tokens_are_handed_over_token_by_token() -> None:
    assert torch.equal(align(pieces(), "a blue star", "a pink star"), torch.eye(LENGTH))


def test_a_cut_prompt_is_aligned_as_far_as_the_model_reads_it() -> None:
    long = "a red star on grey a big blue circle the red star"
    assert torch.equal(align(whole_words(), long, long.replace("grey", "blue")), torch.eye(LENGTH))


@pytest.mark.parametrize("text", ["", "a", "A red, red star!", "a red star on grey a big blue circle the red star"])
@pytest.mark.parametrize("make", [whole_words, pieces, clip])
def test_a_prompt_is_aligned_with_itself(make, text: str) -> None:
    tokenizer = make()
    assert torch.equal(align(tokenizer, text, text), torch.eye(LENGTH))
    places = [place for unit in units(tokenizer, text) for place in unit.places]
    assert places == list(range(sum(tokenizer.encode(text).attention_mask)))


def test_places_of_words() -> None:
    assert places_of(whole_words(), "a red star on the Red star", "red") == [2, 6]
    assert places_of(whole_words(), "a red star on the red star", "Red Star") == [2, 3, 6, 7]
    assert places_of(pieces(), "a blue star", "blue") == [2, 3, 4, 5]
    assert places_of(whole_words(), "a red star", "blue") == places_of(whole_words(), "a red star", "") == []
