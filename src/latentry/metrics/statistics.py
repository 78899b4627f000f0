"""Features of many images, kept in memory that stays flat: moments of all, and vectors of some drawn at random."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from latentry import rng
from latentry.metrics.distances import Moments
from latentry.metrics.features import Features

VECTORS = 10_000
"""Vectors that are kept for what moments do not say; of 2048 numbers 80 MB."""
BATCH = 64


class Statistics:
    """Moments of every vector, and at most `most` of the vectors themselves, each as likely as any other."""

    def __init__(self, width: int, most: int = VECTORS, seed: int = 0) -> None:
        self.moments, self.most, self.seed = Moments(width), most, seed
        self._kept: list[Tensor] = []

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
        return torch.stack(self._kept) if self._kept else torch.zeros(0, len(self.moments.mean))

    def update(self, vectors: Tensor) -> None:
        """Take in vectors (B, D). Which are kept depends on their number alone (Vitter 1985, algorithm R)."""
        first = self.count
        self.moments.update(vectors)
        for number, vector in enumerate(vectors.detach().to("cpu", torch.float32, copy=True), first):
            if number < self.most:
                self._kept.append(vector.clone())
                continue
            place = int(rng.generator(self.seed, "kept vectors", number).integers(number + 1))
            if place < self.most:
                self._kept[place] = vector.clone()


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
