"""The questions of a study, and in which order and on which sides one person sees them."""

from __future__ import annotations

from typing import NamedTuple

from latentry import rng
from latentry.study.preference.options import Made

CHECK = "check"
CONTESTS = {"a_truth": ("a", "truth"), "b_truth": ("b", "truth"), "a_b": ("a", "b")}
"""Task 1 for each method, and task 2: what is shown together. The share of the first is reported."""
TASK = {"a_truth": 1, "b_truth": 1, "a_b": 2}
SIDES = ("left", "right")


class Question(NamedTuple):
    """contest: of CONTESTS, or CHECK. pair: whose images. images: the first and the second by file name; of a check the
    first is the right answer. middle: what is shown between them."""

    contest: str
    pair: int
    images: tuple[str, str]
    middle: str | None


def questions(made: Made) -> list[Question]:
    """All questions of a study; a question is known by its place here."""

    def middle(pair: int) -> str | None:
        return file_name(pair, "input") if made.middle else None

    contests = {name: both for name, both in CONTESTS.items() if "truth" not in both or made.pairs[0].truth is not None}
    asked = [
        Question(name, pair, (file_name(pair, first), file_name(pair, second)), middle(pair))
        for name, (first, second) in contests.items()
        for pair in range(len(made.pairs))
    ]
    checks = [
        Question(CHECK, pair, (file_name(pair, intact(made, number)), check_name(number)), middle(pair))
        for number, pair in enumerate(made.spoilt)
    ]
    return asked + checks


def file_name(pair: int, role: str) -> str:
    """The file in `images/` of one image of a pair."""
    return f"{pair:05d}-{role}.png"


def check_name(number: int) -> str:
    """The file in `images/` of the spoilt image of an attention check."""
    return f"check-{number:04d}.png"


def intact(made: Made, number: int) -> str:
    """Which image of its pair an attention check shows unspoilt: the real one, else one of either method in turn."""
    return "truth" if made.pairs[0].truth is not None else "ab"[number % 2]


def order(made: Made, asked: list[Question], rater: int) -> list[int]:
    """The questions in a person's own random order, the attention checks at random places of equal stretches."""
    random = rng.generator(made.options.seed, "preference/order", rater)
    checks = random.permutation([place for place, one in enumerate(asked) if one.contest == CHECK]).tolist()
    others = random.permutation([place for place, one in enumerate(asked) if one.contest != CHECK]).tolist()
    total, count = len(asked), len(checks)
    slots = {int(random.integers(k * total // count, (k + 1) * total // count)) for k in range(count)}
    return [int(checks.pop() if slot in slots else others.pop()) for slot in range(total)]


def swapped(made: Made, rater: int, question: int) -> bool:
    """Whether a person sees the first image of a question on the right."""
    return bool(rng.generator(made.options.seed, "preference/sides", rater, question).integers(2))
