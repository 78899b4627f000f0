"""Prompts to token numbers: known numbers, the same on every machine, nothing cut in silence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models

from latentry.conditioning import BuildContext
from latentry.conditioning.text import Text, TextOptions, build, rows_of
from latentry.conditioning.words import tokenizer
from latentry.errors import UsageError

# Where some tokens stand in the vocabulary of bert-base-uncased.
BERT = {
    "[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, "!": 999, "'": 1005, ",": 1010, "a": 1037,
    "s": 1055, "the": 1996, "of": 1997, "##s": 2015, "world": 2088, "red": 2417, "##ding": 4667, "apple": 6207,
    "em": 7861, "hello": 7592, "##bed": 8270, "cafe": 7668,
}  # fmt: skip
CAPTIONS = [
    f"a {colour} {shape} on {ground}, it’s café style"
    for colour in ("red", "green", "blue", "yellow", "orange")
    for shape in ("circle", "square", "triangle", "star", "hexagon")
    for ground in ("white", "black", "grey")
]


def options(**changes: object) -> TextOptions:
    small = {"width": 8, "layers": 1, "heads": 2, "head_channels": 4, "length": 16, "vocabulary": 400}
    return TextOptions.model_validate({**small, **changes})


def text(told: list[str] | None = None, captions: list[str] = CAPTIONS, **changes: object) -> Text:
    report = (lambda line: None) if told is None else told.append
    return build(options(**changes), BuildContext(captions=captions, report=report))


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    lines = [f"[unused{number}]" for number in range(max(BERT.values()) + 1)]
    for token, number in BERT.items():
        lines[number] = token
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("prompt", "ids"),
    [
        ("", [101, 102]),
        ("hello world", [101, 7592, 2088, 102]),
        ("Hello, WORLD!", [101, 7592, 1010, 2088, 999, 102]),
        ("the world's red apples", [101, 1996, 2088, 1005, 1055, 2417, 6207, 2015, 102]),
        ("embedding of a Café", [101, 7861, 8270, 4667, 1997, 1037, 7668, 102]),
        ("xylophone", [101, 100, 102]),
    ],
)
def test_a_given_bert_vocabulary_gives_berts_numbers(bert: Path, prompt: str, ids: list[int]) -> None:
    """The published text models were trained on these numbers: others are other words to them."""
    conditioner = text(vocabulary=str(bert), length=77)
    assert conditioner.tokenize([prompt])[0].tolist() == ids + [0] * (77 - len(ids))


def test_a_given_tokenizer_json_reads_as_its_vocabulary(bert: Path, tmp_path: Path) -> None:
    saved = text(vocabulary=str(bert)).files()["tokenizer.json"]
    (tmp_path / "tokenizer.json").write_text(saved, encoding="utf-8")
    again = text(vocabulary=str(tmp_path / "tokenizer.json"), length=8)
    assert again.tokenize(["hello world"])[0].tolist() == [101, 7592, 2088, 102, 0, 0, 0, 0]


def test_training_a_tokenizer_gives_the_same_one_every_time() -> None:
    """The library's own trainer gives another one on every run: a killed run would resume with other tokens."""
    assert len({tokenizer.train(CAPTIONS, 200).to_str() for _ in range(8)}) == 1
    assert tokenizer.train(CAPTIONS[::-1], 200).to_str() == tokenizer.train(CAPTIONS, 200).to_str()


def test_a_trained_tokenizer_knows_the_captions_words_and_spells_the_others() -> None:
    """Common words should cost one token, and a new word should not vanish into [UNK]."""
    trained = tokenizer.train(CAPTIONS, 400)
    assert trained.encode("A Red hexagon, it’s café").tokens == [
        "[CLS]", "a", "red", "hexagon", ",", "it", "’", "s", "cafe", "[SEP]"
    ]  # fmt: skip
    assert "[UNK]" not in trained.encode("zebra-42 @ 100%").tokens
    assert trained.encode("犬").tokens == ["[CLS]", "[UNK]", "[SEP]"]
    assert [trained.token_to_id(token) for token in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")] == [0, 1, 2, 3, 4]
    assert 150 < tokenizer.train(CAPTIONS, 200).get_vocab_size() <= 200


def test_cut_captions_are_counted_and_keep_their_end() -> None:
    """A user whose captions are cut at 16 tokens should be told, not wonder why the model ignores their ends."""
    told: list[str] = []
    exact, longer = " ".join(["red"] * 14), " ".join(["red"] * 15)
    conditioner = text(told, captions=[*CAPTIONS, exact, longer, longer])
    assert told == ["text: 2 of 78 captions are cut at 16 tokens"]
    red = conditioner.tokenizer.token_to_id("red")
    assert conditioner.tokenize([longer])[0].tolist() == [2, *[red] * 14, 3]


def test_the_empty_prompt_is_the_null() -> None:
    conditioner = text()
    empty, null = conditioner.encode([""]).context, conditioner.null(2).context
    assert empty is not None
    assert null is not None
    assert torch.equal(null, empty.expand(2, -1, -1))
    assert conditioner.encode([""]).context_mask is None, "padding takes part, as in the paper's model"


def test_pooled_tokens_are_the_mean_of_the_context_for_prompts_and_the_null() -> None:
    conditioner = text(pooled="tokens")
    assert conditioner.vector_width == conditioner.context_width == 8
    for cond in (conditioner.encode(["a red circle", ""]), conditioner.null(2)):
        assert cond.context is not None
        assert cond.vector is not None
        torch.testing.assert_close(cond.vector, cond.context.mean(1))
    assert text().vector_width is None
    assert text().encode(["a red circle"]).vector is None


def test_pooled_words_do_not_know_their_order() -> None:
    """Each word adds its own share, whatever stands beside it; so words of known meaning can be joined anew."""
    vector = text(pooled="words").encode(["a red circle", "circle a red", "a red square", "a blue circle"]).vector
    assert vector is not None
    torch.testing.assert_close(vector[0], vector[1])
    assert not torch.allclose(vector[0], vector[2])
    torch.testing.assert_close(vector.mean(1), torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(vector.var(1, unbiased=False), torch.ones(4), atol=1e-2, rtol=0)


def test_each_word_is_the_same_whatever_stands_beside_it() -> None:
    """In a layer that sees words together, a pair that was not in training may mean anything."""
    vectors = text(pooled="each").encode(["a red circle", "a blue circle"]).vector
    assert vectors is not None
    assert vectors.shape[::2] == (2, 8)
    same = (vectors[0] - vectors[1]).abs().amax(1) < 1e-6
    assert not same.all()
    assert int((~same).sum()) == 1  # red and blue
    embed = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.SiLU(), torch.nn.Linear(16, 16))
    red, blue = embed(vectors).mean(1)
    alone = embed(vectors[:, ~same]).squeeze(1)
    torch.testing.assert_close(red - blue, (alone[0] - alone[1]) / vectors.shape[1])


def test_prompts_of_any_bytes_are_encoded() -> None:
    """A Latin-1 terminal hands over lone surrogates."""
    assert text().tokenize(["caf\udce9 \x00 🍎", "a" * 5000]).shape == (2, 16)


def test_a_vocabulary_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("red\ngreen\n")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(UsageError, match=r"no \[PAD\], \[UNK\], \[CLS\], \[SEP\]"):
        text(vocabulary=str(tmp_path / "words.txt"))
    with pytest.raises(UsageError, match=r"broken.json is not a tokenizer.json"):
        text(vocabulary=str(tmp_path / "broken.json"))
    with pytest.raises(UsageError, match=r"missing.txt"):
        text(vocabulary=str(tmp_path / "missing.txt"))
    with pytest.raises(UsageError, match=r"vocabulary is 20, but the letters .* need"):
        text(vocabulary=20)


def test_words_are_left_out_in_training_alone_as_often_as_asked() -> None:
    torch.manual_seed(0)
    prompts = [CAPTIONS[0]] * 500
    conditioner = text(drop_words=0.25, length=24)
    ids = conditioner.tokenize(prompts)
    seen: list[torch.Tensor] = []
    conditioner.transformer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    conditioner.eval().encode(prompts)
    assert torch.equal(seen[-1], ids)
    conditioner.train().encode(prompts)
    unknown = seen[-1].eq(conditioner.tokenize(["☃"])[0, 1])
    words = ~torch.isin(ids, conditioner.tokenize([""]))
    assert torch.equal(torch.where(unknown, ids, seen[-1]), ids)
    assert not unknown[~words].any()
    assert 0.23 < unknown[words].double().mean() < 0.27
    before = len(seen)
    conditioner.null(2)
    assert torch.equal(seen[before][0], conditioner.tokenize([""])[0])


def test_leaving_words_out_needs_an_unknown_token(tmp_path: Path) -> None:
    plain = Tokenizer(models.WordLevel({"a": 0, "[PAD]": 1}, unk_token="a"))
    plain.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UsageError, match="drop_words needs a vocabulary with"):
        text(drop_words=0.1, vocabulary=str(tmp_path / "tokenizer.json"))


def test_whole_words_are_known_and_every_other_word_is_unknown() -> None:
    """Spelt from pieces, a new word would say what its pieces say in other words."""
    conditioner = text(tokens="words", drop_words=0.1)
    encoded = conditioner.tokenizer.encode("A RED crimson café, hexagons")
    assert encoded.tokens[:8] == ["[CLS]", "a", "red", "[UNK]", "cafe", ",", "[UNK]", "[SEP]"]
    assert set(encoded.tokens[8:]) == {"[PAD]"}
    assert conditioner.tokenize(["crimson"])[0, 1] == conditioner.tokenizer.token_to_id("[UNK]")
    assert conditioner.options.vocabulary == conditioner.rows == 5 + 21  # distinct words and marks of CAPTIONS


def test_unknown_words_are_told_as_they_were_written() -> None:
    assert text(tokens="words").unknown("A Crimson circle & two Crimson Wölfe, on Mars!") == [
        "Crimson",
        "two",
        "Wölfe",
        "Mars",
    ]
    assert text().unknown("A crimson circle") == []  # spelt
    assert text().unknown("a 犬") == ["犬"]


def test_of_too_many_words_the_most_frequent_ones_are_known() -> None:
    captions = ["fish fish fish", "bird bird cat", "ant cat"]
    for given in (captions, captions[::-1]):
        assert tokenizer.by_number(tokenizer.train_words(given, 8)) == [*tokenizer.SPECIAL, "fish", "bird", "cat"]


def test_words_of_other_captions_are_added_behind_those_that_are_known() -> None:
    first = text(tokens="words")
    files = first.files()
    loaded = build(first.options, BuildContext(files=files))
    assert loaded.files() == files
    same = build(options(tokens="words"), BuildContext(files=files, captions=CAPTIONS))
    assert same.files() == files
    told = build(options(tokens="words"), BuildContext(files=files, captions=["a crimson circle", "a navy square"]))
    assert tokenizer.by_number(told.tokenizer) == [*tokenizer.by_number(first.tokenizer), "crimson", "navy"]


def test_a_resumed_vocabulary_of_words_is_that_of_its_weights() -> None:
    """New words in the captions since the run began would need rows that its checkpoint does not have."""
    began = text(tokens="words")
    for asked in (began.options, options(tokens="words"), options(tokens="words", vocabulary=500)):
        resumed = build(
            asked, BuildContext(labels=["a"], labelled=lambda: [("a crimson circle", 0)], files=began.files())
        )
        resumed.load_state_dict(began.state_dict())
        assert resumed.options.vocabulary == began.rows
        assert torch.equal(resumed.tokenize(["a crimson circle"]), began.tokenize(["a crimson circle"]))


def test_words_begin_as_in_a_model_that_knows_them_or_their_pieces() -> None:
    words, pieces = text(tokens="words"), text(vocabulary=150)
    spelt = pieces.tokenizer.encode("triangle", add_special_tokens=False)
    numbers = [number for number, real in zip(spelt.ids, spelt.attention_mask, strict=True) if real]
    assert len(numbers) > 1, "the vocabulary is too large for this test"
    found, new = rows_of(words, pieces)
    assert new == []
    theirs = pieces.transformer.token.weight
    torch.testing.assert_close(found[words.tokenizer.token_to_id("triangle")], theirs[numbers].mean(0))
    for token in ("[PAD]", "[UNK]", "a"):
        assert torch.equal(found[words.tokenizer.token_to_id(token)], theirs[pieces.tokenizer.token_to_id(token)])
    other = build(options(tokens="words"), BuildContext(captions=["a crimson circle"]))
    found, new = rows_of(other, words)
    assert new == ["crimson"]
    crimson = other.tokenizer.token_to_id("crimson")
    assert torch.equal(found[crimson], other.transformer.token.weight[crimson])


def test_words_are_those_of_the_captions_as_many_as_fit(bert: Path) -> None:
    with pytest.raises(UsageError, match=r"vocabulary is .*vocab.txt, but tokens are words of the captions"):
        text(tokens="words", vocabulary=str(bert))
    with pytest.raises(UsageError, match=r"vocabulary is 5, which leaves no room for a word\. Set it to 6 or more"):
        text(tokens="words", vocabulary=5)
