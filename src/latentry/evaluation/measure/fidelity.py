"""How like single images are to those that they should be: PSNR, SSIM and LPIPS of pairs, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from latentry.errors import LatentryError
from latentry.evaluation.measure.processes import ALONE, Processes
from latentry.evaluation.measure.streams import Gathering, Told, silent
from latentry.metrics.compare import Figure
from latentry.metrics.distances.interval import bootstrap_mean
from latentry.metrics.features import Features
from latentry.metrics.psnr import psnr
from latentry.metrics.ssim import RADIUS, ssim
from latentry.metrics.statistics import Statistics

Score = Callable[[Tensor, Tensor], Tensor]
"""Of images and those that they should be, both (B, C, H, W) in [0, 1], a number each, (B,)."""
LEAST = 17
"""Side of the smallest image that LPIPS's network sees anything of."""
Pairs = Callable[[range], Iterable[tuple[Tensor, Tensor]]]
"""Images of some numbers and what was made of them, both (b, C, H, W) in [0, 1]."""


class Fidelity:
    """Scores of pairs that come in parts. scores: by the figure's name before its features and unit."""

    def __init__(self, scores: dict[str, Score]) -> None:
        self.scores = scores
        self.found: dict[str, list[tuple[int, Tensor]]] = {name: [] for name in scores}

    def take(self, first: int, real: Tensor, again: Tensor) -> None:
        """Take in the pairs from number `first` on."""
        for name, score in self.scores.items():
            self.found[name].append((first, score(real, again).double()))

    def figures(self, of: str, processes: Processes = ALONE, seed: int = 0) -> list[Figure]:
        """The means over the pairs of all processes, the same in each. of: what the pairs are, in words."""
        figures = []
        for name in [*self.found]:
            parts = [part for one in processes.gathered(self.found[name]) for part in one]
            values = torch.cat([value for _, value in sorted(parts, key=lambda part: part[0])]) if parts else None
            if values is None or not len(values):
                continue
            finite = bool(values.isfinite().all())
            interval = bootstrap_mean(values, seed=seed) if finite and len(values) > 1 else None
            figures.append(
                Figure(_named(name, of), float(values.mean()), len(values), len(values), interval, seed=seed)
            )
        return figures


def scores_of(
    names: Sequence[str],
    shape: tuple[int, int, int],
    perceptual: Callable[[], tuple[Score, str]],
    notes: list[str],
    part: tuple[float, float] | None = None,
) -> dict[str, Score]:
    """The scores that names of `FIDELITY` ask for, as far as they can be had; a note for each that cannot.

    shape: (C, H, W) of the images. perceptual: opens LPIPS. part: of [0, 1], what of it images use, where that is
    little: errors are then relative to it.
    """
    low, high = part or (0.0, 1.0)
    channels, *size = shape
    found: dict[str, Score] = {}
    if "psnr" in names:
        found["PSNR"] = lambda real, again: psnr(real, again, high - low)
    if "ssim" in names and min(size) > 2 * RADIUS:
        found["SSIM"] = lambda real, again: ssim(real, again, high - low)
    elif "ssim" in names:
        notes.append(f"SSIM: images of {size[0]}x{size[1]} are smaller than its window of 11x11; it is left out.")
    if "lpips" in names and (channels not in (1, 3, 4) or min(size) < LEAST):
        notes.append(
            f"LPIPS: images of {channels} channels and {size[0]}x{size[1]}; it knows 1, 3 or 4, and sides from "
            f"{LEAST}. It is left out."
        )
    elif "lpips" in names:
        try:
            score, tag = perceptual()
            found[f"LPIPS[{tag}]"] = score
        except LatentryError as error:
            notes.append(str(error))
    return found


def pairs_of(
    pairs: Pairs,
    count: int,
    features: Sequence[Features],
    fidelity: Fidelity,
    part: int,
    *,
    seed: int = 0,
    processes: Processes = ALONE,
    told: Told = silent,
) -> list[tuple[Statistics, Statistics]]:
    """Statistics of `count` images and of what was made of them, in each of the features; `fidelity` takes in pairs.

    Arguments as of `streams.statistics_of`.
    """
    sides = [(Gathering(one, seed, count), Gathering(one, seed, count)) for one in features]
    for done, numbers in enumerate(processes.share(count, part), 1):
        first = numbers.start
        for real, again in pairs(numbers):
            fidelity.take(first, real, again)
            for one, other in sides:
                one.take(first, [real], part)
                other.take(first, [again], part)
            first += len(real)
        told(min(done * part * processes.size, count), count)
    return [(one.together(processes), other.together(processes)) for one, other in sides]


def _named(name: str, of: str) -> str:
    return f"{name} of {of}" + (" (dB)" if name == "PSNR" else "")
