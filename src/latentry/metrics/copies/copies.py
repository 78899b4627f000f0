"""Which samples are copies of training images, judged by what images that were held out look like."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from latentry.errors import UsageError
from latentry.metrics.compare import Figure
from latentry.metrics.copies.calibration import LEAST, SPACING, HeldOut, nearness
from latentry.metrics.copies.gather import joined, looked_at, shelved
from latentry.metrics.copies.search import Neighbours, Queries, nearest
from latentry.metrics.copies.shelf import Shelf
from latentry.metrics.copies.views import views
from latentry.metrics.distances.interval import share_interval
from latentry.metrics.features import Features

RATE = 0.01
SHOWN = 5
FEWEST = 20


@dataclass(frozen=True)
class Pair:
    """A sample and the training image that is nearest to it, by their places in what was given.

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

    rate: at most so many of images that are no copies are called one. p: (S,), over all views together. by_view: the
    SHOWN nearest training images of each sample. chances: (S,) p of each view by itself. held_out: how many images
    held out, and how many of these were called copies. training: how many images. warning: "" where there is none.
    """

    rate: float
    p: Tensor
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
            found.append(Pair(sample, row, view, flipped, p, p <= self.rate))
        return found


def find_copies(
    samples: Iterable[Tensor],
    training: Iterable[Tensor],
    held_out: Iterable[Tensor] = (),
    features: Features | None = None,
    rate: float = RATE,
) -> Copies:
    """Judge each sample by its nearest training image, in pixels and in features, also mirrored.

    samples, training, held_out: images as (B, C, H, W) in [0, 1] or uint8, in parts of any B; each is read once. A
    sample is a copy where its distance, over the local spacing of the training set, is one that images held out reach
    at most at the `rate`. Held out are those given, and some of the training images one at a time.
    Raises UsageError for no samples, and for fewer than 20 images to judge by.
    """
    looks = views(features)
    shelves, in_turn = shelved(looks, training)
    sets = [looked_at(looks, samples), looked_at(looks, held_out), in_turn]
    try:
        return _judged(sets, shelves, rate)
    finally:
        for shelf in shelves.values():
            shelf.close()


def _judged(sets: Sequence[Mapping[str, Queries]], shelves: Mapping[str, Shelf], rate: float) -> Copies:
    counts = [len(one["pixels"].own) if one else 0 for one in sets]
    samples, held, in_turn = counts
    if not samples or held + in_turn < FEWEST:
        raise UsageError(
            f"copies: {samples} samples, {held} held-out and {in_turn} training images; at least 1 sample and "
            f"{FEWEST} images to judge it by are needed. Give more images."
        )
    near, chances, beyond = dict[str, Neighbours](), dict[str, Tensor](), True
    for name, shelf in shelves.items():
        queries = joined([one[name] for one in sets if one])
        found = nearest(queries, shelf.chunks(), min(SPACING, len(shelf) - 1) + 1)
        values = nearness(found.distances)
        law = HeldOut.of(values[samples:])
        chances[name] = law.p(values)
        beyond &= float(law.p(torch.tensor([LEAST], dtype=torch.float64).log())) * len(shelves) > rate
        near[name] = Neighbours(*(side[:samples, :SHOWN] for side in (found.distances, found.rows, found.mirrored)))
    p = (torch.stack(list(chances.values())).min(0).values * len(chances)).clamp(max=1)
    as_near = int((p[samples : samples + held] <= rate).sum())
    warning = (
        f"copies: so many held-out images repeat training images that no sample can be called a copy at a rate of "
        f"{rate:g}. Remove repeated images from the data."
    )
    each = {name: one[:samples] for name, one in chances.items()}
    return Copies(rate, p[:samples], near, each, (held, as_near), len(shelves["pixels"]), warning if beyond else "")
