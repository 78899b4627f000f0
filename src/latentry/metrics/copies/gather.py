"""Vectors of training images, held-out ones and samples, in every view; memory does not grow with the training set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from latentry.metrics.copies.search import Queries
from latentry.metrics.copies.shelf import Shelf
from latentry.metrics.copies.views import View

MOST = 1000
"""Training images, and held-out ones, that samples are judged by; between so many and half of them."""


class Looks(NamedTuple):
    """Images as they are looked at.

    numbers: (B,) int64, of the images in their set. plain, mirrored: of each view, vectors (B, parts, D) of the images
    and of their mirror images.
    """

    numbers: Tensor
    plain: Mapping[str, Tensor]
    mirrored: Mapping[str, Tensor]

    def of(self, rows: Tensor) -> Looks:
        """Those of some rows: numbers or bool."""
        plain, mirrored = ({name: x[rows] for name, x in side.items()} for side in (self.plain, self.mirrored))
        return Looks(self.numbers[rows], plain, mirrored)

    def queries(self, view: str, held_out: bool = False) -> Queries:
        """In one view. held_out: from the training images, which they are among."""
        return Queries.of(self.plain[view], self.mirrored[view], self.numbers if held_out else None)


def together(parts: Sequence[Looks]) -> Looks:
    """All of them in the order of their numbers."""
    if not parts:
        return Looks(torch.zeros(0, dtype=torch.int64), {}, {})
    plain, mirrored = (
        {name: torch.cat([side[name] for side in sides]) for name in sides[0]}
        for sides in ([part.plain for part in parts], [part.mirrored for part in parts])
    )
    numbers = torch.cat([part.numbers for part in parts])
    return Looks(numbers, plain, mirrored).of(numbers.argsort())


def looked_at(views: Mapping[str, View], images: Iterable[Tensor]) -> Looks:
    """Every image (B, C, H, W) of a set in every view, as it is and mirrored; empty for no images."""
    return together(
        [
            Looks(numbers, *({name: view(x) for name, view in views.items()} for x in (part, part.flip(-1))))
            for numbers, part in numbered(images)
        ]
    )


def numbered(images: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Parts of images, each with their numbers (B,)."""
    count = 0
    for part in images:
        yield torch.arange(count, count + len(part)), part
        count += len(part)


class Gallery:
    """Training images in every view: all of them in files, and some of them, evenly spread, to be held out in turn.

    These are compared as they are: many sets hold an image and its mirror image on purpose, which no sample's
    nearness is to be excused by. Which they are depends on the numbers alone, however many processes share them.
    """

    def __init__(self) -> None:
        self.shelves: dict[str, Shelf] = {}
        self.numbers: list[int] = []
        self._some = Spread()

    def take(self, numbers: Tensor, vectors: Mapping[str, Tensor]) -> None:
        """Take in training images of these numbers, (B,), by their vectors in every view, (B, parts, D)."""
        self.numbers += numbers.tolist()
        for name, x in vectors.items():
            self.shelves.setdefault(name, Shelf()).append(x)
        self._some.take(Looks(numbers, vectors, vectors))

    def some(self) -> list[Looks]:
        """Those to be held out."""
        return self._some.parts

    def close(self) -> None:
        for shelf in self.shelves.values():
            shelf.close()


class Spread:
    """At most MOST images, those whose numbers are multiples of the least power of 2 that leaves so few."""

    def __init__(self, parts: Iterable[Looks] = ()) -> None:
        self.parts, self._every = list[Looks](), 1
        for part in parts:
            self.take(part)

    def take(self, part: Looks) -> None:
        self.parts.append(part.of(part.numbers % self._every == 0))
        while sum(len(one.numbers) for one in self.parts) > MOST:
            self._every *= 2
            self.parts = [one.of(one.numbers % self._every == 0) for one in self.parts]
