"""Which samples are copies of training images, and the training images that are nearest to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from latentry.metrics.compare import Figure
from latentry.metrics.copies.search import Neighbours
from latentry.metrics.distances.interval import share_interval

RATE = 0.01
SHOWN = 5
FEWEST = 20


@dataclass(frozen=True)
class Pair:
    """A sample and the training image that is nearest to it, by their numbers.

    view: in which it is so near. mirrored: whether the sample's mirror image is. p: how likely an image that is no
    copy comes so near. copy: whether the sample is called one.
    """

    sample: int
    training: int
    view: str
    mirrored: bool
    p: float
    copy: bool


@dataclass(frozen=True)
class Copies:
    """Found among samples.

    rate: at most so many of images that are no copies are called one. p: (S,), over all views together. numbers: (S,)
    of the samples. by_view: the SHOWN nearest training images of each sample. chances: (S,) p of each view by itself.
    held_out: how many images held out, and how many of these were called copies. training: how many images.
    warning: "" where there is none.
    """

    rate: float
    p: Tensor
    numbers: Tensor
    by_view: Mapping[str, Neighbours]
    chances: Mapping[str, Tensor]
    held_out: tuple[int, int]
    training: int
    warning: str = ""

    @property
    def called(self) -> Tensor:
        """(S,) bool."""
        return self.p <= self.rate

    @property
    def share(self) -> float:
        return float(self.called.double().mean())

    def figures(self) -> list[Figure]:
        """The share of copies among the samples, and among images held out: what the model's is to be held against."""
        name, (held, as_near), count = f"[{' + '.join(self.by_view)}]", self.held_out, len(self.p)
        whole = share_interval(int(self.called.sum()), count)
        figures = [Figure(f"copies{name}", self.share, count, self.training, whole, self.warning)]
        if held:
            other = share_interval(as_near, held)
            figures.append(Figure(f"copies among held-out images{name}", as_near / held, held, self.training, other))
        return figures

    def pairs(self, most: int | None = None) -> list[Pair]:
        """Samples beside the training images that they are nearest to, the surest copies first."""
        found = []
        for sample in torch.argsort(self.p, stable=True)[:most].tolist():
            view = min(self.chances, key=lambda name: float(self.chances[name][sample]))
            near, p = self.by_view[view], float(self.p[sample])
            row, flipped = int(near.rows[sample, 0]), bool(near.mirrored[sample, 0])
            number = int(self.numbers[sample])
            found.append(Pair(number, row, view, flipped, p, p <= self.rate))
        return found
