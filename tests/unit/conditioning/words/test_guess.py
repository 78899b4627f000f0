"""The class guessed from words: Bayes' rule by hand, and what is asked for is never overruled."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

import latentry as lt
from latentry.conditioning import BuildContext
from latentry.conditioning.class_label import FILE, ClassLabelOptions, build
from latentry.conditioning.words.guess import SMOOTHING, Guess, features
from latentry.errors import LatentryError, UsageError
from tests.e2e.small_runs import TEXT, noise, run_tiny, write_images, write_metadata

CAPTIONS = [("red fox", 0), ("grey fox", 0), ("sly fox", 0), ("red pie", 1), ("hot pie", 1), ("new fox", 1)]


def test_words_and_their_parts() -> None:
    assert features("Red é") == {"red", "<re", "red>", "<red", "ed>", "<red>", "é", "<é>"}
    assert features(" !? ") == set()


def test_it_is_bayes_rule() -> None:
    """P(class | one feature) of counts that can be read off the captions: fox is in 3 of class 0 and 1 of class 1."""
    guess = Guess.of(CAPTIONS)
    sizes = [sum(len(features(text)) for text, label in CAPTIONS if label == wanted) for wanted in (0, 1)]
    kinds = len({feature for text, _ in CAPTIONS for feature in features(text)})
    for word, found in (("fox", (3, 1)), ("red", (1, 1)), ("pie", (0, 2))):
        by_hand = [
            math.log(3) + len(features(word)) * math.log((count + SMOOTHING) / (size + SMOOTHING * kinds))
            for count, size in zip(found, sizes, strict=True)
        ]
        assert guess(word) == by_hand.index(max(by_hand))
    assert guess("a hot foxy pie") == 1
    assert guess("FOXES") == 0


def test_nothing_is_guessed_from_what_was_never_seen() -> None:
    guess = Guess.of(CAPTIONS)
    assert guess("zz") is None
    assert guess("") is None


def test_it_is_kept_as_text() -> None:
    guess = Guess.of(CAPTIONS)
    again = Guess.parse(guess.to_text(), FILE)
    assert again.to_text() == guess.to_text()
    assert [again(text) for text, _ in CAPTIONS] == [guess(text) for text, _ in CAPTIONS]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": {"x": 1}, "counts": {}}', '{"images": {}, "counts": 3}'])
def test_a_damaged_table_is_one_line(text: str) -> None:
    with pytest.raises(LatentryError, match=r"words\.json: is not a table of words"):
        Guess.parse(text, FILE)


def test_what_is_asked_for_is_kept() -> None:
    context = BuildContext(labels=["animals", "food"], labelled=lambda: CAPTIONS)
    label = build(ClassLabelOptions(width=4, guess="text"), context)
    asked = label.guessed([None, None, -1, "food", None], ["red fox", "pie", "fox", "fox", None])
    assert asked == ["animals", "food", -1, "food", None]
    again = build(label.options, BuildContext(labels=["animals", "food"], files=label.files()))
    assert again.guessed([None], ["pie"]) == ["food"]


def test_it_needs_captions_with_classes() -> None:
    with pytest.raises(UsageError, match="guess needs captions of labelled images"):
        build(ClassLabelOptions(guess="text"), BuildContext(labels=["a", "b"]))


def test_a_model_draws_the_class_that_the_words_tell(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "images", noise(12, (16, 16, 3)))
    names = ("animals", "food")
    rows = [CAPTIONS[number % 6] for number in range(12)]
    write_metadata(folder, [{"text": text, "label": names[label]} for text, label in rows])
    label = {"kind": "class_label", "via": "vector", "width": 8, "guess": "text"}
    told = {"data.text": "text", "data.label": "label", "diffusion.conditioning": {"text": TEXT, "label": label}}
    run = run_tiny(tmp_path, folder, told)
    pipe = lt.load(run.path / "model")
    alone, asked = pipe.sample("pie"), pipe.sample("pie", label="food")
    assert torch.equal(alone.tensor, asked.tensor)
    assert alone.facts[0]["label"] == "food"
    assert not torch.equal(alone.tensor, pipe.sample("pie", label=-1).tensor)
    assert not torch.equal(alone.tensor, pipe.sample("pie", label="animals").tensor)
    assert "label" not in pipe.sample("zz").facts[0]
    with pytest.raises(UsageError, match=r'label\.guess: no condition "name" of kind text; known: text'):
        run_tiny(tmp_path / "b", folder, {**told, "diffusion.conditioning.label.guess": "name"})
