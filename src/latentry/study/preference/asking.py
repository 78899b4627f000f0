"""A study that goes on: who is asked what next, and what counts as an answer."""

from __future__ import annotations

import time
import unicodedata
from pathlib import Path
from typing import Any, NamedTuple

from latentry.errors import UsageError
from latentry.study.preference.making import ANSWERS, IMAGES, load
from latentry.study.preference.options import Made
from latentry.study.preference.questions import SIDES, order, questions, swapped
from latentry.study.preference.store import Answer, Answers

LONGEST_NAME = 40
EARLY = 0.9  # share of the viewing time; clocks of page and server differ a little


class Sides(NamedTuple):
    """What a person sees of a question, as files of `images/`."""

    left: str
    right: str
    middle: str | None


class Study:
    """The study in a folder. Errors: `UsageError` for what a page must not ask, in a line."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made = folder, load(folder)
        self.questions = questions(self.made)
        self.answers = Answers(folder / ANSWERS)
        self._orders: dict[int, list[int]] = {}
        self._seen: dict[tuple[int, int], float] = {}

    def about(self) -> dict[str, Any]:
        """What the page tells everyone at first."""
        return {"questions": len(self.questions), "seconds": self.made.options.seconds, "middle": self.made.middle}

    def join(self, name: str) -> dict[str, Any]:
        """Begin, or go on, as the person of a name."""
        name = " ".join(unicodedata.normalize("NFC", name).split())
        if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable():
            raise UsageError(f"Please give a name or a letter of your own, of 1 to {LONGEST_NAME} letters.")
        return self.state(self.answers.join(name))

    def state(self, rater: int) -> dict[str, Any]:
        """Who a person is, how far they are, and the question they have next, None after the last."""
        name = self._name(rater)
        answered, number = self._progress(rater)
        question = None if number is None else {"number": number, "text": self.made.question}
        return {
            "rater": rater, "name": name, "answered": answered, "of": len(self.questions), "question": question
        }  # fmt: skip

    def show(self, rater: int, question: int) -> None:
        """From now on a person sees the images of their next question."""
        self._require_next(rater, question)
        self.answers.shown(rater, question)
        self._seen[rater, question] = time.monotonic()

    def answer(self, rater: int, question: int, side: str) -> dict[str, Any]:
        """Keep an answer and give the next question; one that was answered before stays as it is."""
        self._name(rater)
        if question in self.answers.answered(rater):
            return self.state(rater)
        self._require_next(rater, question)
        if not self.answers.was_shown(rater, question):
            raise UsageError("The images of this question have not been shown.")
        begun = self._seen.get((rater, question))
        seconds = None if begun is None else time.monotonic() - begun
        if seconds is not None and seconds < EARLY * self.made.options.seconds:
            raise UsageError("The images are still being shown.")
        asked, swap = self.questions[question], swapped(self.made, rater, question)
        left, right = (_role(file) for file in (asked.images[::-1] if swap else asked.images))
        chosen = (left, right)[SIDES.index(side)]
        self.answers.add(Answer(rater, question, asked.contest, asked.pair, left, right, side, chosen, seconds))
        self._seen.pop((rater, question), None)
        return self.state(rater)

    def image(self, rater: int, question: int, place: str) -> Path:
        """The file of an image of a person's next question. place: left, middle or right."""
        self._require_next(rater, question)
        asked = self.questions[question]
        first, second = asked.images[::-1] if swapped(self.made, rater, question) else asked.images
        file = {"left": first, "right": second, "middle": asked.middle}.get(place)
        if file is None:
            raise UsageError("There is no such image.")
        return self.folder / IMAGES / file

    def _name(self, rater: int) -> str:
        names = self.answers.names()
        if rater not in names:
            raise UsageError("Nobody of this number has begun the study.")
        return names[rater]

    def _progress(self, rater: int) -> tuple[int, int | None]:
        """(how many questions are answered, which one is next)."""
        if rater not in self._orders:
            self._orders[rater] = order(self.made, self.questions, rater)
        answered = self.answers.answered(rater)
        return len(answered), next((one for one in self._orders[rater] if one not in answered), None)

    def _require_next(self, rater: int, question: int) -> None:
        self._name(rater)
        if question != self._progress(rater)[1]:
            raise UsageError("This is not the question that comes next.")


def role_of(made: Made, number: int) -> str:
    """Of an attention check: which image is the right answer, as answers name it."""
    return _role(questions(made)[number].images[0])


def _role(file: str) -> str:
    """The role that an image has by its file's name; that of a check's other image is `spoilt`."""
    return "spoilt" if file.startswith("check-") else file.removesuffix(".png").partition("-")[2]
