"""Features of many images, kept in memory that stays flat: moments of all, and vectors of some drawn at random."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from latentry import rng
from latentry.metrics.distances import Moments
from latentry.metrics.features import Features

VECTORS = 10_000
"""Vectors that are kept for what moments do not say; of 2048 numbers 80 MB."""
BATCH = 64


class Statistics:
    """Moments of every vector, and at most `most` of the vectors themselves, each as likely as any other.

    Which are kept depends on the numbers of the images alone: processes that share them keep together what one would.
    """

    def __init__(self, width: int, most: int = VECTORS, seed: int = 0) -> None:
        self.moments, self.most, self.seed = Moments(width), most, seed
        self._kept: dict[int, tuple[int, Tensor]] = {}  # by place, the number of the image and its vector

    @classmethod
    def of(cls, vectors: Tensor) -> Statistics:
        """Those of vectors (N, D), all of which are kept."""
        statistics = cls(vectors.shape[1], len(vectors))
        statistics.update(vectors)
        return statistics

    @property
    def count(self) -> int:
        return self.moments.count

    @property
    def vectors(self) -> Tensor:
        """(min(count, most), D) float32; in the order of the images while all are kept."""
        kept = [self._kept[place][1] for place in sorted(self._kept)]
        return torch.stack(kept) if kept else torch.zeros(0, len(self.moments.mean))

    def update(self, vectors: Tensor, first: int | None = None) -> None:
        """Take in vectors (B, D) of the images from number `first` on; None: those that come next.

        A number beyond `most` takes a drawn place, if there is one of that number (Vitter 1985, algorithm R).
        """
        first = self.count if first is None else first
        self.moments.update(vectors)
        for number, vector in enumerate(vectors.detach().to("cpu", torch.float32, copy=True), first):
            place = number
            if number >= self.most:
                place = int(rng.generator(self.seed, "kept vectors", number).integers(number + 1))
            if place < self.most:
                self._keep(place, number, vector.clone())

    def over_processes(self) -> Statistics:
        """Of the images of all processes together, the same in each; these where there is one process."""
        if not (dist.is_available() and dist.is_initialized()):
            return self
        together = Statistics(0, self.most, self.seed)
        together.moments = self.moments.over_processes()
        parts: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(parts, self.state())
        for part in parts:
            for place, number, vector in zip(part["places"], part["numbers"], part["vectors"], strict=True):
                together._keep(int(place), int(number), vector.clone())
        return together

    def state(self) -> dict[str, Tensor]:
        """Tensors to keep: those of `Moments.state`, `vectors`, and of these `places` and `numbers`."""
        places = sorted(self._kept)
        kept = {"places": torch.tensor(places), "numbers": torch.tensor([self._kept[place][0] for place in places])}
        return {**self.moments.state(), **kept, "vectors": self.vectors}

    @classmethod
    def from_state(cls, state: dict[str, Tensor], most: int = VECTORS, seed: int = 0) -> Statistics:
        """Those of `state()`."""
        statistics = cls(0, most, seed)
        statistics.moments = Moments.from_state(state)
        for place, number, vector in zip(state["places"], state["numbers"], state["vectors"], strict=True):
            statistics._keep(int(place), int(number), vector.clone())
        return statistics

    def _keep(self, place: int, number: int, vector: Tensor) -> None:
        """At a place stays the image of the highest number."""
        if place not in self._kept or self._kept[place][0] < number:
            self._kept[place] = number, vector


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
