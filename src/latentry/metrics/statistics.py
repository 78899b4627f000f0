"""Features of many images, kept in memory that stays flat: moments of all, and vectors of some drawn at random."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from latentry import rng
from latentry.metrics.distances import Moments
from latentry.metrics.distances.inception_score import Scores
from latentry.metrics.features import Features

VECTORS = 10_000
"""Vectors that are kept for what moments do not say; of 2048 numbers 80 MB."""
BATCH = 64
NOBODY = -1
"""The number at a place that no image has."""


class Statistics:
    """Moments of every vector, and at most `most` of the vectors themselves, each as likely as any other.

    Which are kept depends on the numbers of the images alone: processes that share them keep together what one would.
    scores: of what a classifier makes of every vector, where there is one.
    """

    scores: Scores | None = None

    def __init__(self, width: int, most: int = VECTORS, seed: int = 0) -> None:
        self.moments, self.most, self.seed = Moments(width), most, seed
        self._vectors = torch.empty(most, width)  # by place; memory is taken as places are filled
        self._numbers = torch.full((most,), NOBODY)  # of the images there

    @classmethod
    def of(cls, vectors: Tensor) -> Statistics:
        """Those of vectors (N, D), all of which are kept."""
        statistics = cls(vectors.shape[1], len(vectors))
        for part in vectors.split(BATCH):
            statistics.update(part)
        return statistics

    @property
    def count(self) -> int:
        return self.moments.count

    @property
    def vectors(self) -> Tensor:
        """(min(count, most), D) float32; in the order of the images while all are kept."""
        places = self._places()
        whole = len(places) == 0 or len(places) == int(places[-1]) + 1
        return self._vectors[: len(places)] if whole else self._vectors[places]

    def update(self, vectors: Tensor, first: int | None = None) -> None:
        """Take in vectors (B, D) of the images from number `first` on; None: those that come next.

        A number beyond `most` takes a drawn place, if there is one of that number (Vitter 1985, algorithm R).
        """
        first = self.count if first is None else first
        self.moments.update(vectors)
        x, numbers = vectors.detach().to("cpu", torch.float32), torch.arange(first, first + len(vectors))
        places = numbers.clone()
        for row in (numbers >= self.most).nonzero()[:, 0].tolist():
            number = first + row
            places[row] = int(rng.generator(self.seed, "kept vectors", number).integers(number + 1))
        self._keep(places, numbers, x)

    def over_processes(self) -> Statistics:
        """Of the images of all processes together, the same in each; these where there is one process."""
        if not (dist.is_available() and dist.is_initialized()):
            return self
        together = Statistics(len(self.moments.mean), self.most, self.seed)
        together.moments = self.moments.over_processes()
        parts: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(parts, self.state())
        for part in parts:
            together._keep(part["places"], part["numbers"], part["vectors"])
        return together

    def state(self) -> dict[str, Tensor]:
        """Tensors to keep: those of `Moments.state`, `vectors`, and of these `places` and `numbers`."""
        places = self._places()
        kept = {"places": places, "numbers": self._numbers[places]}
        return {**self.moments.state(), **kept, "vectors": self.vectors.clone()}

    @classmethod
    def from_state(cls, state: dict[str, Tensor], most: int = VECTORS, seed: int = 0) -> Statistics:
        """Those of `state()`."""
        places = state["places"].long()
        statistics = cls(len(state["mean"]), max(most, int(places.max()) + 1) if len(places) else most, seed)
        statistics.moments = Moments.from_state(state)
        statistics._keep(places, state["numbers"].long(), state["vectors"])
        return statistics

    def _places(self) -> Tensor:
        """The places that are taken, in rising order."""
        return (self._numbers != NOBODY).nonzero()[:, 0]

    def _keep(self, places: Tensor, numbers: Tensor, vectors: Tensor) -> None:
        """At a place stays the image of the highest number; numbers rise."""
        for row in (places < self.most).nonzero()[:, 0].tolist():
            place = int(places[row])
            if self._numbers[place] < numbers[row]:
                self._numbers[place], self._vectors[place] = numbers[row], vectors[row]


def extract(features: Features, images: Iterable[Tensor], batch: int = BATCH) -> Iterator[Tensor]:
    """The features (b, D) of images that come as (B, C, H, W), in order; any B, and sizes may change between them.

    The network is given `batch` at a time whatever B is, so that the reader's batches change no bit of a number.
    """
    waiting: list[Tensor] = []
    for part in images:
        if waiting and waiting[0].shape[1:] != part.shape[1:]:
            yield features(torch.cat(waiting))
            waiting = []
        waiting.append(part)
        while sum(map(len, waiting)) >= batch:
            ready = torch.cat(waiting)
            waiting = [ready[batch:]] if len(ready) > batch else []
            yield features(ready[:batch])
    if waiting:
        yield features(torch.cat(waiting))


def summarise(
    features: Features, images: Iterable[Tensor], most: int = VECTORS, seed: int = 0, batch: int = BATCH
) -> Statistics:
    """Statistics of the features of images. batch: how many the network is given at a time."""
    statistics: Statistics | None = None
    for vectors in extract(features, images, batch):
        statistics = statistics or Statistics(vectors.shape[1], most, seed)
        statistics.update(vectors)
    return statistics or Statistics(0, most, seed)
