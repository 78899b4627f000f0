"""Copies among samples, found while their statistics and those of the training images are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentry.evaluation.images.sets import ImageSet
from latentry.evaluation.measure.networks import over_white
from latentry.evaluation.measure.parts import Bench
from latentry.evaluation.measure.processes import Processes
from latentry.evaluation.measure.setting import Found
from latentry.metrics.compare import Figure
from latentry.metrics.copies.copies import Copies, Pair
from latentry.metrics.copies.gather import MOST, Gallery, Looks
from latentry.metrics.copies.judging import judge
from latentry.metrics.copies.views import pixels
from latentry.metrics.features import Features, tag

JUDGED = 2000
"""Samples that are judged, the first ones: of more, vectors would fill the memory, and the share is known well."""
LISTED, SHOWN = 100, 8
SHEET = "nearest"


class Copying:
    """Looks on at samples, training images and images held out, in one kind of features and in pixels.

    features: the first of those that are measured in. alpha: the images' last channel is transparency.
    """

    def __init__(self, features: Features, *, alpha: bool) -> None:
        self.features, self.alpha = features, alpha
        self.gallery = Gallery()
        self.samples, self.held_out = list[Looks](), list[Looks]()

    def at_training(self, numbers: Sequence[int], parts: Sequence[Tensor], vectors: Sequence[Tensor]) -> None:
        """Of training images: all are kept, in files."""
        self.gallery.take(torch.tensor(numbers), self._views(parts, vectors[0]))

    def at_samples(self, numbers: Sequence[int], parts: Sequence[Tensor], vectors: Sequence[Tensor]) -> None:
        """Of samples: the first JUDGED."""
        self._look(self.samples, [number < JUDGED for number in numbers], numbers, parts, vectors[0])

    def at_held_out(self, count: int) -> Callable[[Sequence[int], Sequence[Tensor], Sequence[Tensor]], None]:
        """Of so many held-out images: MOST at most, evenly spread."""
        every = max(1, -(-count // MOST))

        def look(numbers: Sequence[int], parts: Sequence[Tensor], vectors: Sequence[Tensor]) -> None:
            self._look(self.held_out, [number % every == 0 for number in numbers], numbers, parts, vectors[0])

        return look

    def found(self, processes: Processes) -> Copies:
        """Among the samples of all processes, the same in each. Raises UsageError where there are too few images."""
        try:
            return judge(self.samples, self.gallery, self.held_out, gathered=processes.gathered)
        finally:
            self.gallery.close()

    def _look(
        self, at: list[Looks], wanted: list[bool], numbers: Sequence[int], parts: Sequence[Tensor], vectors: Tensor
    ) -> None:
        if any(wanted):
            flipped = [part.flip(-1) for part in parts]
            mirrored = self._views(flipped, torch.cat([self.features(part) for part in flipped]))
            looks = Looks(torch.tensor(numbers), self._views(parts, vectors), mirrored)
            at.append(looks.of(torch.tensor(wanted)))

    def _views(self, parts: Iterable[Tensor], vectors: Tensor) -> Mapping[str, Tensor]:
        seen = torch.cat([pixels(over_white(part) if self.alpha else part) for part in parts])
        return {"pixels": seen, tag(self.features): vectors[:, None]}


def judged(
    copying: Copying,
    found: Found,
    real: ImageSet,
    sample: Callable[[int], Tensor | None],
    bench: Bench,
    names: Sequence[Path] = (),
) -> None:
    """Judge what was looked at, in all processes; the figures, or a note why there are none, into what was found.

    real: the training images. sample: an image (C, H, W) by its number. names: of the samples' files, if they have any.
    """
    kept = list[Copies]()

    def make() -> list[Figure]:
        kept.append(copying.found(bench.processes))
        return kept[0].figures()

    figures = bench.tried(make, "copies")
    if bench.processes.chief and kept:
        found.figures += figures
        _show(kept[0].pairs(LISTED), found, real, sample, names)


def _show(
    pairs: Sequence[Pair],
    found: Found,
    real: ImageSet,
    sample: Callable[[int], Tensor | None],
    names: Sequence[Path],
) -> None:
    """The surest pairs, and a sheet of the first of them."""
    found.nearest = tuple(_row(pair, real, names) for pair in pairs if pair.copy or pair in pairs[:SHOWN])
    shown = [(sample(pair.sample), real.one(pair.training)) for pair in pairs[:SHOWN]]
    both = [(one, other) for one, other in shown if one is not None and other is not None]
    alike = [pair for pair in both if pair[0].shape == pair[1].shape == both[0][0].shape]
    if alike:
        rows = torch.stack([one for one, _ in alike] + [other for _, other in alike])
        found.sheets[SHEET] = (rows, len(alike), real.alpha)


def _row(pair: Pair, real: ImageSet, names: Sequence[Path]) -> dict[str, Any]:
    """A pair for the report: which sample, the file that is nearest to it, and how sure it is that it is a copy."""
    return {
        "sample": names[pair.sample].name if names else pair.sample,
        "training image": str(real.paths[pair.training].name),
        "in": pair.view,
        "mirrored": pair.mirrored,
        "p": round(pair.p, 6),
        "copy": pair.copy,
    }
