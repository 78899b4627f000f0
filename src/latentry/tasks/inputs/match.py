"""An enlarged image made consistent with the small one that it was made of, by iterative back-projection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from latentry.data.degrade import shrunk
from latentry.data.degrade.resize import bicubic
from latentry.models.tiles import gathered
from latentry.nn.tiled.plane import Source, Whole
from latentry.windows import Window

if TYPE_CHECKING:
    from torch import Tensor

    from latentry.data.degrade import Image

ROUNDS = 8
"""What is off falls to about a third in each: from 25 dB to over 55 dB, more than 8 bits show."""
REACH = 4 * ROUNDS
"""How many small pixels away a pixel can still depend on another: in a round two down and two up."""


class Matched:
    """A source (C, f h, f w) in [-1, 1], which shrunk as images are in training (bicubic) is the small image (C, h, w).

    In each round what the small image has and the shrunk one has not is enlarged and added, so that detail which the
    small image says nothing of stays as it is; an image that matches already is not changed. Computed when it is read,
    window by window, as if it were whole. Source: Irani and Peleg 1991, "Improving resolution by image registration".
    """

    def __init__(self, source: Source, small: Tensor, factor: int) -> None:
        self.source, self.small, self.factor = source, small, factor
        self.channels, self.height, self.width = source.channels, source.height, source.width

    def read(self, window: Window) -> Tensor:
        top, left = window.top // self.factor, window.left // self.factor
        covered = Window(top, -(-window.bottom // self.factor), left, -(-window.right // self.factor))
        around = covered.grown(REACH).within(*self.small.shape[1:])
        large = around.times(self.factor)
        small = self.small[:, around.top : around.bottom, around.left : around.right]
        fitted = _projected(_numbers(self.source.read(large)[0]), _numbers(small), self.factor)
        inside = torch.from_numpy(fitted)[:, window.top - large.top :, window.left - large.left :]
        return inside[None, :, : window.height, : window.width]


def matched(images: Tensor, small: Sequence[Tensor], factor: int) -> Tensor:
    """`Matched` of images (B, C, f h, f w) and their small ones (C, h, w), one for each."""
    pairs = zip(images, small, strict=True)
    return torch.cat([gathered(Matched(Whole(image[None]), low, factor)) for image, low in pairs])


def _projected(large: Image, small: Image, factor: int) -> Image:
    large = large.clip(-1, 1)
    for _ in range(ROUNDS):
        missing = small - shrunk(large, factor)
        large = (large + bicubic(missing, large.shape[1:])).clip(-1, 1)
    return large


def _numbers(images: Tensor) -> Image:
    return np.asarray(images.detach().float().cpu().numpy())
