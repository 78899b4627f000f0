"""The blind degradation: blur, shrinking, noise and JPEG of random kinds and strengths in random order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from latentry.data.degrade.blur import blur, covariance, gaussian
from latentry.data.degrade.jpeg import compressed
from latentry.data.degrade.noise import add_noise
from latentry.data.degrade.resize import KINDS, Image, bicubic, interpolated

HALVED = 0.25
"""How often an image that is to be shrunk four times is halved before everything else."""
COMPRESSED = 0.9
"""How often there is JPEG besides that at the end."""
NARROWEST = 1e-4
"""Variance in pixels squared; below it a kernel is a single pixel."""


@dataclass(frozen=True)
class Strength:
    """How much is done to an image.

    blurs: how many. narrower: by which their deviations and variances are divided. round_sizes, long_sizes: smallest
    and largest kernel of round and of stretched blur, odd numbers. direct: how often shrinking is by interpolation and
    not by blur and taking every f-th pixel. noise: lowest and highest deviation in 255ths. quality: of JPEG.
    """

    blurs: int
    narrower: float
    round_sizes: tuple[int, int]
    long_sizes: tuple[int, int]
    direct: float
    noise: tuple[int, int]
    quality: tuple[int, int]


BSR = Strength(2, 1.0, (7, 25), (7, 25), direct=0.75, noise=(2, 25), quality=(30, 95))
"""As published. Source: Zhang et al. 2021, "Designing a practical degradation model for deep blind image SR"."""
BSR_LIGHT = Strength(1, 4.0, (5, 7), (5, 15), direct=0.8, noise=(1, 2), quality=(80, 95))
"""The moderate one of Rombach et al. 2022, appendix D.6.1, with the figures of its code."""


class Work(NamedTuple):
    """What a step knows besides the image. left: how many times it is still to be shrunk. size: (h, w) in the end."""

    strength: Strength
    left: int
    size: tuple[int, int]
    draw: np.random.Generator

    def among(self, sizes: tuple[int, int]) -> int:
        """An odd number from the first to the second."""
        return int(self.draw.integers(sizes[0] // 2, sizes[1] // 2, endpoint=True)) * 2 + 1

    def kind(self) -> str:
        """Any interpolation."""
        return str(self.draw.choice(list(KINDS)))


def degraded(image: Image, factor: int, rng: Callable[[], np.random.Generator], strength: Strength) -> Image:
    """(C, H, W) in [-1, 1] to (C, H / factor, W / factor), the last thing JPEG, which other than 1 or 3 channels skip.

    The camera's own processing of the published code is left out, as by default there. Kernels are of odd size, so
    that none moves the image.
    """
    draw = rng()
    size = (image.shape[1] // factor, image.shape[2] // factor)
    x, left = np.asarray((image + 1) / 2, np.float32), factor
    if factor % 4 == 0 and draw.random() < HALVED:
        x, left = _halved(x, draw).clip(0, 1), factor // 2
    work = Work(strength, left, size, draw)
    for step in order(strength, draw):
        x = STEPS[step](x, work).clip(0, 1)
    return np.asarray(_jpeg(x, work) * 2 - 1, np.float32)


def order(strength: Strength, draw: np.random.Generator) -> list[str]:
    """The steps in random order, but that the last size comes after every other."""
    steps = ["blur"] * strength.blurs + ["shrink", "fit", "noise", "jpeg"]
    drawn = [steps[place] for place in draw.permutation(len(steps))]
    first, last = sorted((drawn.index("shrink"), drawn.index("fit")))
    drawn[first], drawn[last] = "shrink", "fit"
    return drawn


def _halved(x: Image, draw: np.random.Generator) -> Image:
    half = (x.shape[1] // 2, x.shape[2] // 2)
    return interpolated(x, half, str(draw.choice(list(KINDS)))) if draw.random() < 0.5 else bicubic(x, half)


def _blur(x: Image, work: Work) -> Image:
    """Round or stretched, as often."""
    strength, draw = work.strength, work.draw
    if draw.random() < 0.5:
        along, across = (4 + work.left) / strength.narrower * draw.random(2)
        spread = covariance(max(along, NARROWEST), max(across, NARROWEST), np.pi * draw.random())
        return blur(x, gaussian(work.among(strength.long_sizes), spread))
    deviation = (2 + 0.2 * work.left) / strength.narrower * draw.random()
    return blur(x, gaussian(work.among(strength.round_sizes), np.eye(2) * max(deviation**2, NARROWEST)))


def _shrink(x: Image, work: Work) -> Image:
    """By any factor up to twice the wanted one, or every f-th pixel of a blurred image, taken where f pixels meet."""
    if work.draw.random() < work.strength.direct:
        by = work.draw.uniform(1, 2 * work.left)
        return interpolated(x, (max(1, int(x.shape[1] / by)), max(1, int(x.shape[2] / by))), work.kind())
    deviation = work.draw.uniform(0.1, 0.6 * work.left)
    kernel = gaussian(25, np.eye(2) * deviation**2, centre=-(work.left - 1) / 2)
    return blur(x, kernel)[:, :: work.left, :: work.left]


def _fit(x: Image, work: Work) -> Image:
    return interpolated(x, work.size, work.kind())


def _noise(x: Image, work: Work) -> Image:
    return add_noise(x, work.strength.noise, work.draw)


def _sometimes_jpeg(x: Image, work: Work) -> Image:
    return _jpeg(x, work) if work.draw.random() < COMPRESSED else x


def _jpeg(x: Image, work: Work) -> Image:
    return compressed(x, int(work.draw.integers(*work.strength.quality, endpoint=True)))


STEPS: dict[str, Callable[[Image, Work], Image]] = {
    "blur": _blur,
    "shrink": _shrink,
    "fit": _fit,
    "noise": _noise,
    "jpeg": _sometimes_jpeg,
}
