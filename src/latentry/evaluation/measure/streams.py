"""From images that come in parts to statistics of their features, by one process or several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import TypeVar

import torch
from torch import Tensor

from latentry.evaluation.images.sets import ImageSet
from latentry.evaluation.measure.cached import keep, kept, place
from latentry.evaluation.measure.networks import Placed
from latentry.evaluation.measure.processes import ALONE, Processes
from latentry.metrics.distances.inception_score import SPLITS, Scores
from latentry.metrics.features import Features
from latentry.metrics.statistics import VECTORS, Statistics, extract

KEPT_NUMBERS = 1 << 23
"""Numbers of the vectors that are kept of one set, 32 MB; of vectors of 2048 numbers 4096."""
T = TypeVar("T")
Images = Callable[[range], Iterable[Tensor]]
"""The images of some numbers, as (b, C, H, W) in [0, 1]; fewer where files cannot be read."""
Watch = Callable[[Sequence[int], Sequence[Tensor], Sequence[Tensor]], None]
"""Called with the numbers of images, the images in parts (b, C, H, W), and their vectors (B, D) in each features."""
Told = Callable[[int, int], None]
"""Called with (images done, of how many)."""


def silent(done: int, total: int) -> None:
    """Says nothing."""


def statistics_of(
    images: Images,
    count: int,
    features: Sequence[Features],
    part: int,
    *,
    seed: int = 0,
    processes: Processes = ALONE,
    told: Told = silent,
    watches: Sequence[Watch] = (),
) -> list[Statistics]:
    """Statistics of `count` images in each of the features, the same in every process.

    part: images that are held at once. seed: of which vectors are kept. What is held does not grow with the count.
    watches: look on at the images of this process.
    """
    gathering = [Gathering(one, seed, count) for one in features]
    held = ((numbers, list(images(numbers))) for numbers in processes.share(count, part))
    reading = ahead(held) if isinstance(images, ImageSet) else held  # a network that draws has both cores already
    for done, (numbers, parts) in enumerate(reading, 1):
        vectors = [one.take(numbers.start, parts, part) for one in gathering]
        for watch in watches if parts else ():
            watch(_read(images, numbers, parts), parts, vectors)
        told(min(done * part * processes.size, count), count)
    return [one.together(processes) for one in gathering]


class Gathering:
    """Statistics of one kind of features, while they are gathered."""

    def __init__(self, features: Features, seed: int, count: int) -> None:
        self.features, self.seed = features, seed
        self.scores = (
            Scores(count, min(SPLITS, count)) if count and isinstance(features, Placed) and features.scored else None
        )
        self.statistics: Statistics | None = None

    def take(self, first: int, parts: Iterable[Tensor], batch: int) -> Tensor:
        """Take in the images from number `first` on; their vectors (B, D)."""
        found = list(extract(self.features, parts, batch))
        for vectors in found:
            if self.statistics is None:
                self.statistics = empty(vectors.shape[1], self.seed)
            self.statistics.update(vectors, first)
            if self.scores is not None and isinstance(self.features, Placed):
                self.scores.update(first, self.features.logits(vectors))
            first += len(vectors)
        return torch.cat(found) if found else torch.zeros(0, 0)

    def together(self, processes: Processes) -> Statistics:
        """Of all processes, also where one had no images."""
        widths = processes.gathered(0 if self.statistics is None else len(self.statistics.moments.mean))
        mine = self.statistics or empty(max(widths), self.seed)
        whole = mine.over_processes() if processes.size > 1 else mine
        if self.scores is not None:
            whole.scores = reduce(Scores.add, processes.gathered(self.scores))
        return whole


def empty(width: int, seed: int) -> Statistics:
    """Statistics of no images, of vectors of so many numbers."""
    return Statistics(width, most_kept(width), seed)


def most_kept(width: int) -> int:
    """How many vectors of so many numbers are kept."""
    return min(VECTORS, KEPT_NUMBERS // max(1, width))


def reference_statistics(
    images: ImageSet,
    features: Sequence[Features],
    *,
    seed: int = 0,
    processes: Processes = ALONE,
    told: Told = silent,
    watches: Sequence[Watch] = (),
) -> list[Statistics]:
    """As `statistics_of` of a folder, from the cache where they are kept. watches: look on at the first features."""
    digest = processes.told(images.digest() if processes.chief else "")
    places = [place(digest, one, KEPT_NUMBERS, seed) for one in features]
    found = processes.told([kept(one, seed) for one in places] if processes.chief else [])
    missing = [i for i, one in enumerate(found) if one is None]
    wanted = sorted({0, *missing}) if watches else missing
    if wanted:
        how = {"seed": seed, "processes": processes, "told": told, "watches": watches}
        made = statistics_of(images, images.count, [features[i] for i in wanted], images.at_once, **how)  # type: ignore[arg-type]
        for i in missing:
            found[i] = made[wanted.index(i)]
            if processes.chief:
                keep(places[i], made[wanted.index(i)])
    return [one for one in found if one is not None]


def _read(images: Images, numbers: range, parts: Sequence[Tensor]) -> Sequence[int]:
    """The numbers of the images that could be read."""
    if isinstance(images, ImageSet) and sum(map(len, parts)) != len(numbers):
        return [number for number in numbers if images.one(number) is not None]
    return numbers


def ahead(source: Iterable[T]) -> Iterator[T]:
    """The same, each made in a thread while the one before it is worked on."""
    items, end = iter(source), object()
    with ThreadPoolExecutor(1, "reading ahead") as pool:
        waiting = pool.submit(next, items, end)
        while (item := waiting.result()) is not end:
            waiting = pool.submit(next, items, end)
            yield item  # type: ignore[misc]
